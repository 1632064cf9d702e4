// What the command line of a suite says. The suites of `npm run bench` all take the same options.
import { availableParallelism } from 'node:os';
import { basename } from 'node:path';
import { parseArgs } from 'node:util';
import { refuseQuick } from './results.mjs';

/** Options that bench/gpu.mjs and bench/cuda.mjs have beyond those. */
const gpuOptions = /** @type {const} */ ({
  device: { type: 'string', default: 'cuda' },
  budget: { type: 'string', default: '240' },
  out: { type: 'string', default: '' },
});
/** Options that bench/pipeline.mjs has beyond those. */
const pipelineOptions = /** @type {const} */ ({
  epochs: { type: 'string', default: '200,1000' },
});
/** Options that bench/native.mjs has beyond those. */
const nativeOptions = /** @type {const} */ ({
  threads: { type: 'string' },
  isa: { type: 'string' },
});
const script = basename(process.argv[1] ?? '');
const flags = readFlags();

function readFlags() {
  try {
    const { values } = parseArgs({
      options: {
        quick: { type: 'boolean', default: false },
        markdown: { type: 'boolean', default: false },
        save: { type: 'boolean', default: false },
        filter: { type: 'string', default: '' },
        rounds: { type: 'string', default: '' },
        eager: { type: 'boolean', default: false },
        ...(/^(gpu|cuda)\.mjs$/.test(script) && gpuOptions),
        ...(script === 'pipeline.mjs' && pipelineOptions),
        ...(script === 'native.mjs' && nativeOptions),
      },
    });
    if (!/^([1-9]\d{0,3})?$/.test(values.rounds)) {
      throw new Error(`expected a number for --rounds, received ${values.rounds}`);
    }
    refuseQuick(values.quick, values.save);
    const { epochs = '' } = /** @type {{ epochs?: string }} */ (values);
    if ('epochs' in values && !/^[1-9]\d{0,4}(,[1-9]\d{0,4})*$/.test(epochs)) {
      throw new Error(`expected numbers of steps for --epochs, received ${epochs}`);
    }
    const {
      budget = '',
      device = '',
      out = '',
    } = /** @type {{ budget?: string, device?: string, out?: string }} */ (values);
    if (budget === '' ? 'budget' in values : !/^[1-9]\d{0,4}$/.test(budget)) {
      throw new Error(`expected seconds for --budget, received ${budget}`);
    }
    const { threads, isa } = /** @type {{ threads?: string, isa?: string }} */ (values);
    if (threads !== undefined && !/^[1-9]\d{0,3}$/.test(threads)) {
      throw new Error(`expected a number for --threads, received ${threads}`);
    }
    return { ...values, epochs, budget, device, out, native: { threads, isa } };
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exit(2);
  }
}

/** Short runs: enough to see that everything works, not to quote. */
export const quick = flags.quick;
/** A table at the end instead of a JSON line a case. */
export const markdown = flags.markdown;
/** Whether results go to bench/results/. */
export const save = flags.save;
/** Whether the case of this name is wanted. */
export const wanted = (/** @type {string} */ name) => name.includes(flags.filter);

/** How often sides take their turns: what `--rounds` says, else as many as a suite wants. */
export const roundsOr = (/** @type {number} */ wanted) => Number(flags.rounds) || wanted;
/** Whether PyTorch runs without compiling, which takes half a minute a case. */
export const eager = flags.eager || quick;

/** Of bench/gpu.mjs: where ours runs, for how many seconds, and the file that results go to. */
export const gpu = { device: flags.device, budget: Number(flags.budget), out: flags.out };

/** Of bench/pipeline.mjs: the lengths of epochs, in steps. */
export const epochSteps = flags.epochs.split(',').map(Number);

/** Of bench/native.mjs: what its program is told besides `--quick`, and the instruction set, if any. */
export const native = {
  isa: flags.native.isa,
  options: { filter: flags.filter, rounds: flags.rounds, ...flags.native },
};

/** How to get the same results again. */
export const command = [`node bench/${script}`, ...process.argv.slice(2)].join(' ');

/** Threads of the machine, which are those that all sides may use. */
export const threads = availableParallelism();
/** The numbers of threads to try a peer with; its best counts. */
export const threadCounts = threads === 1 ? [1] : [1, threads];
