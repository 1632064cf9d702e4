// What the command line of an example may say: --precision bf16-mixed, --seed 2.
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: {
    precision: { type: 'string', default: 'float32' },
    seed: { type: 'string', default: '1' },
  },
});

/** Of training; the Trainer says which there are. */
export const precision = /** @type {'float32' | 'bf16-mixed'} */ (values.precision);
/** Of the initial values and the order of the data. */
export const seed = Number(values.seed);
