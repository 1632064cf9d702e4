// A trained model in 8 bits behind HTTP: quantized only if it stays as accurate, concurrent requests
// joined to runs, a bounded queue that answers 503, requests that leave free their place. Then many
// rows one after the other, as a stream.
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { createServer } from 'node:http';
import { arrayBuffer } from 'node:stream/consumers';
import {
  adamw,
  dense,
  dropout,
  Predictor,
  quantize,
  sequential,
  TandemError,
  Trainer,
} from 'tandem-ml';
import { classes, loadDigits, pixels } from './lib/digits.mjs';

const out = new URL('../out/', import.meta.url);
await mkdir(out, { recursive: true });
const [train, validation, test] = await loadDigits({ sizes: [1280, 240], seed: 1 });

const layer = () => [dense(256, { activation: 'relu' }), dropout(0.3)];
const model = sequential([...layer(), ...layer(), dense(classes)], { input: [pixels], seed: 1 });
const trainer = new Trainer(model, { loss: 'crossEntropy', optimizer: adamw(), seed: 1 });
await trainer.fit(train, { epochs: 30, batchSize: 32, verbose: 0 });
await trainer.close();

// To 8 bits, and into a file. ERR_NUMERIC, with the report, where accuracy falls by over half a point.
const small = await quantize(model, {
  calibration: { x: train.x.subarray(0, 256 * pixels) },
  validation,
  maxAccuracyLoss: 0.005,
});
const { float32 = 0, int8 = 0 } = small.report.validation ?? {};
console.log(`Accuracy in float32 ${percent(float32)}, in 8 bits ${percent(int8)}`);
const file = new URL('digits-int8.safetensors', out);
await small.save(file);
await small.close();

// Service: rows as bytes of float32 in, class numbers out.
const predictor = await Predictor.load(file, {
  batching: { maxBatch: 64, maxDelayUs: 200 },
  maxQueue: 256,
  warmup: [1, 64],
});
/** @type {Partial<Record<string, number>>} */
const statusOf = { ERR_BUSY: 503, ERR_SHAPE: 400, ERR_ARGUMENT: 400 };
const server = createServer(async (request, response) => {
  const client = new AbortController();
  response.once('close', () => client.abort()); // who has left need not be answered
  try {
    const body = await arrayBuffer(request);
    const x = new Float32Array(body, 0, Math.floor(body.byteLength / 4));
    const y = await predictor.predict(x, { signal: client.signal });
    response.end(JSON.stringify(classesOf(y)));
  } catch (error) {
    response.statusCode = (error instanceof TandemError && statusOf[error.code]) || 500;
    response.end(String(error));
  }
});
server.listen(0, '127.0.0.1');
await once(server, 'listening');

// Clients, each with one image at a time.
const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
const url = `http://127.0.0.1:${port}/`;
let right = 0;
let next = 0;
async function client() {
  while (next < test.y.length) {
    const i = next++;
    const reply = await fetch(url, { method: 'POST', body: imageOf(i) });
    if (!reply.ok) throw new Error(`${reply.status}: ${await reply.text()}`);
    const [found] = /** @type {number[]} */ (await reply.json());
    if (found === test.y[i]) right++;
  }
}
const start = performance.now();
await Promise.all(Array.from({ length: 32 }, client));
const rate = (1000 * test.y.length) / (performance.now() - start);
console.log(`By HTTP: accuracy ${percent(right / test.y.length)}, ${rate.toFixed(0)} requests/s`);
const bad = await fetch(url, { method: 'POST', body: new Uint8Array(12) });
console.log(`A request of 3 numbers: ${bad.status}, ${await bad.text()}`);
server.close();
server.closeAllConnections();

// A stream: results in order, and no more read ahead than is computed.
function* images() {
  for (let i = 0; i < test.y.length; i++) yield imageOf(i);
}
let row = 0;
let streamed = 0;
for await (const y of predictor.stream(images())) {
  if (classesOf(y)[0] === test.y[row++]) streamed++;
}
console.log(`As a stream: accuracy ${percent(streamed / row)}`);
await predictor.close();

if (!(streamed === right && streamed / row >= 0.95)) process.exitCode = 1;

function imageOf(i) {
  return test.x.subarray(i * pixels, (i + 1) * pixels);
}

/** The largest logit of each row. */
function classesOf(logits) {
  return Array.from({ length: logits.length / classes }, (_, i) => {
    const scores = logits.subarray(i * classes, (i + 1) * classes);
    return scores.indexOf(Math.max(...scores));
  });
}

function percent(share) {
  return `${(100 * share).toFixed(1)}%`;
}
