// A process that answers requests one after the other: JSON lines in and out.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/**
 * @typedef {object} Asked
 * @property {any} hello the first line that the process wrote
 * @property {boolean} ended
 * @property {(request: object, timeoutMs: number) => Promise<any>} ask resolves with the answer, or
 *   `{ error }`; what takes longer than that ends the process
 * @property {() => Promise<void>} end resolves when the process has ended
 */

/**
 * Starts one. Resolves when it has said hello, or with why it cannot.
 * @param {string} command
 * @param {string[]} args
 * @param {number} timeoutMs for the hello
 * @returns {Promise<Asked | string>}
 */
export async function startAsked(command, args, timeoutMs) {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  let said = '';
  child.stderr.on('data', (chunk) => {
    said = `${said}${chunk}`.slice(-2000);
  });
  child.stdin.on('error', () => {}); // the process has ended, which `ended` tells
  let isEnded = false;
  const ended = new Promise((resolve) => {
    const end = (/** @type {unknown} */ why) => {
      isEnded = true;
      const last = said.trim().split('\n').at(-1) ?? '';
      resolve({ error: `the process ended (${why})${last && `: ${last}`}` });
    };
    child.on('error', (error) => end(error.message));
    child.on('close', (code, signal) => end(signal ?? `status ${code}`));
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();

  const answer = async (/** @type {number} */ ms) => {
    /** @type {NodeJS.Timeout | undefined} */
    let timer;
    const late = new Promise((resolve) => {
      timer = setTimeout(() => {
        child.kill('SIGKILL');
        resolve({ error: `no answer within ${Math.round(ms / 1000)} s` });
      }, ms);
    });
    // Lines end with the process, whose end says more.
    const line = lines.next().then(({ value }) => (value ? parse(value) : ended));
    const found = await Promise.race([line, ended, late]);
    clearTimeout(timer);
    return found;
  };

  const hello = await answer(timeoutMs);
  if (hello.error) return hello.error;
  let last = Promise.resolve();
  return {
    hello,
    get ended() {
      return isEnded;
    },
    ask(request, ms) {
      const asked = last.then(() => {
        if (isEnded) return ended;
        child.stdin.write(`${JSON.stringify(request)}\n`);
        return answer(ms);
      });
      last = asked.then(() => undefined);
      return asked;
    },
    async end() {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

function parse(/** @type {string} */ line) {
  try {
    return JSON.parse(line);
  } catch {
    return { error: `expected JSON, received ${line.slice(0, 200)}` };
  }
}
