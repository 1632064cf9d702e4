// What the command line of an example may say: --device cpu, --precision bf16-mixed, --seed 2, --quick.
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: {
    device: { type: 'string', default: 'auto' },
    precision: { type: 'string', default: 'float32' },
    seed: { type: 'string', default: '1' },
    quick: { type: 'boolean', default: false },
  },
});

/** To train and to serve on. */
export const device = /** @type {'auto' | 'cpu' | 'cuda'} */ (values.device);
/** Of training; the Trainer says which there are. */
export const precision = /** @type {'float32' | 'bf16-mixed'} */ (values.precision);
/** Of the initial values and the order of the data. */
export const seed = Number(values.seed);
/** Seconds of training: enough to see that the model learns. */
export const quick = values.quick;
/** The folder for files, another one where they are those of a quick run. */
export const out = new URL(quick ? '../../out/quick/' : '../../out/', import.meta.url);
