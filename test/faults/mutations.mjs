// Loads a valid file with random damage, many times. Prints how many loaded, the codes of the others,
// and every error that is not the library's.
import { readFile, rm, writeFile } from 'node:fs/promises';
import { Model, Predictor, TandemError } from 'tandem-ml';
import { generator, makeX } from './support.mjs';

const [path, seed, count] = process.argv.slice(2);
const random = generator(Number(seed));
const below = (limit) => Math.floor(random() * limit);
const whole = await readFile(path);
const header = 8 + Number(whole.readBigUInt64LE(0));

function damage(bytes) {
  // Half of it where it hurts: the header is a small part of the file.
  const at = () => below(random() < 0.7 ? header : bytes.length);
  switch (below(6)) {
    case 0:
      bytes[at()] ^= 1 << below(8);
      return bytes;
    case 1:
      for (let i = below(16); i >= 0; i--) bytes[at()] = below(256);
      return bytes;
    case 2: {
      // A digit for a digit, so that the JSON stays one.
      for (let i = below(4); i >= 0; i--) {
        let place = 8 + below(header - 8);
        while (place < header && (bytes[place] < 48 || bytes[place] > 57)) place++;
        if (place < header) bytes[place] = 48 + below(10);
      }
      return bytes;
    }
    case 3: {
      const [from, length] = [at(), below(64)];
      return Buffer.concat([bytes.subarray(0, from), bytes.subarray(from + length)]);
    }
    case 4: {
      const [from, to, length] = [at(), at(), below(64)];
      bytes.copy(bytes, to, from, from + length);
      return bytes;
    }
    default:
      bytes[header + below(bytes.length - header)] = below(256);
      return bytes;
  }
}

const file = `${path}.damaged`;
const codes = {};
const other = [];
let loaded = 0;
for (let i = 0; i < Number(count); i++) {
  await writeFile(file, damage(Buffer.from(whole)));
  try {
    const model = await Model.load(file);
    const predictor = await Predictor.load(model);
    const [input] = predictor.inputs;
    if (input.shape.length === 2 && input.shape[1] === 8) {
      predictor.predictSync({ [input.name]: makeX(2) });
    }
    await predictor.close();
    loaded++;
  } catch (error) {
    if (error instanceof TandemError) codes[error.code] = (codes[error.code] ?? 0) + 1;
    else other.push(`${i}: ${error}`);
  }
}
await rm(file, { force: true });
console.log(JSON.stringify({ loaded, codes, other }));
