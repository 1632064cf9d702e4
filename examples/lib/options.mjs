// What the command line of an example may say: --device cpu, --precision bf16-mixed, --seed 2.
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: {
    device: { type: 'string', default: 'auto' },
    precision: { type: 'string', default: 'float32' },
    seed: { type: 'string', default: '1' },
  },
});

/** To train and to serve on. */
export const device = /** @type {'auto' | 'cpu' | 'cuda'} */ (values.device);
/** Of training; the Trainer says which there are. */
export const precision = /** @type {'float32' | 'bf16-mixed'} */ (values.precision);
/** Of the initial values and the order of the data. */
export const seed = Number(values.seed);
