// Trains a small GPT on Shakespeare's plays, character by character, and lets it write:
// Radford et al., "Language Models are Unsupervised Multitask Learners" (2019).
//   npm run build && node examples/shakespeare-gpt.mjs [--device cpu] [--precision bf16-mixed] [--seed 1] [--quick]
import { mkdir } from 'node:fs/promises';
import {
  adamw,
  cosine,
  dense,
  embedding,
  input,
  layerNorm,
  Predictor,
  sequential,
  Trainer,
  transformerBlock,
} from 'tandem-ml';
import { compare, timeRuns } from './lib/measure.mjs';
import { device, out, precision, quick, seed } from './lib/options.mjs';
import { chart } from './lib/terminal.mjs';
import { allWindows, loadPlays, randomWindows } from './lib/text.mjs';

const [layers, width, heads, context] = [4, 128, 4, 64];
const batchSize = 12;
const [steps, rounds, wantedLoss] = quick ? [240, 2, 2.4] : [2000, 8, 1.9];
await mkdir(out, { recursive: true });

// Data: windows of 64 characters; each character is to foretell the next.
const { characters, train, validation } = await loadPlays();
const held = allWindows(validation, context);

// Model.
const model = sequential(
  [
    embedding(characters.length, width, { positions: context }),
    ...Array.from({ length: layers }, () => transformerBlock({ heads, causal: true })),
    layerNorm(),
    dense(characters.length, { bias: false }),
  ],
  { input: input([context], { dtype: 'int32' }), seed },
);
console.log(model.summary());

// Training, in rounds with new windows each.
const trainer = new Trainer(model, {
  loss: 'crossEntropy',
  optimizer: adamw({ learningRate: 3e-3, weightDecay: 0.1, betas: [0.9, 0.99] }),
  lrScheduler: cosine({ warmupSteps: steps / 20, totalSteps: steps, minimum: 0.1 }),
  maxGradNorm: 1,
  device,
  precision,
  seed,
});
/** @type {Record<'training' | 'validation', number[]>} */
const losses = { training: [], validation: [] };
const start = performance.now();
for (let round = 0; round < rounds; round++) {
  const count = (batchSize * steps) / rounds;
  const data = randomWindows(train, { count, length: context, seed: (seed - 1) * rounds + round });
  const history = await trainer.fit(data, { batchSize, validationData: held });
  losses.training.push(...history.loss);
  losses.validation.push(...(history.valLoss ?? []));
}
const minutes = (performance.now() - start) / 60000;
console.log(`\nLoss by ${steps / rounds} steps\n\n${chart(losses)}\n`);
const loss = losses.validation[rounds - 1];
console.log(`${steps} steps in ${minutes.toFixed(1)} minutes: validation loss ${loss.toFixed(4)}`);

// The trained model in a file, and the file writing.
const file = new URL('shakespeare-gpt.safetensors', out);
await model.save(file);
const predictor = await Predictor.load(file, { device, generation: { sequences: 1 } });
const text = [...validation.subarray(0, context / 2)];
// A sequence is as long as the context; its last half begins the next one.
for (let part = 0; part < 16; part++) {
  const options = { temperature: 0.8, seed: part };
  for await (const token of predictor.generate(text.slice(-context / 2), options)) text.push(token);
}
const [prompt, written] = [text.slice(0, context / 2), text.slice(context / 2)].map((tokens) =>
  tokens.map((token) => characters[token]).join(''),
);
console.log(`\nAfter "${prompt?.replace(/\n/g, ' ')}" it writes\n\n${written}\n`);

// Training beside inference.
const io = predictor.bind(1);
const latency = timeRuns(() => io.runSync(), 200);
console.log(compare(trainer.profile(), { ...predictor.profile(), latencyMs: latency }));
console.log('\nWrote out/shakespeare-gpt.safetensors');
await trainer.close();
await predictor.close();

if (!(loss <= wantedLoss)) {
  console.error(`expected a validation loss of ${wantedLoss} or less, received ${loss}`);
  process.exitCode = 1;
}
