// A Python process that times PyTorch on request: JSON lines in and out.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/**
 * `model`: a function of torch_models.py and its arguments.
 * @typedef {{ model: { kind: string }, batch: number, precision: string, mode: string, threads: number }} Request
 */

/** Undefined when there is no Python with PyTorch. */
export async function startTorch() {
  const script = fileURLToPath(new URL('torch_train.py', import.meta.url));
  const python = process.env.TANDEM_BENCH_PYTHON ?? '/usr/bin/python3';
  const child = spawn(python, [script], { stdio: ['pipe', 'pipe', 'ignore'] });
  const failed = new Promise((resolve) => {
    child.on('error', resolve);
    child.on('exit', resolve);
  }).then(() => undefined);
  child.stdin.on('error', () => {}); // the process has ended, which `failed` tells
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const answer = () =>
    Promise.race([lines.next().then(({ value }) => value && JSON.parse(value)), failed]);
  const ask = async (request) => {
    child.stdin.write(`${JSON.stringify(request)}\n`);
    return (await answer()) ?? { error: 'the Python process ended' };
  };

  const hello = await answer();
  if (hello === undefined) return undefined;
  return {
    /** @type {string} */
    version: hello.version,
    /**
     * Builds and warms a case. Resolves with why that cannot be.
     * @param {Request} request
     * @returns {Promise<string | undefined>}
     */
    prepare: async (request) => (await ask({ ...request, seconds: 0.1 })).error,
    /**
     * The time of a step.
     * @param {Request} request
     * @param {number} seconds
     * @returns {Promise<import('../lib/measure.mjs').Time>}
     */
    measure: async (request, seconds) => {
      const { p50, p99, error } = await ask({ ...request, seconds });
      if (error) throw new Error(`PyTorch: ${error}`);
      return { p50, p99 };
    },
    close: () => child.stdin.end(),
  };
}
