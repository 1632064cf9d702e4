import { spawn, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The repository's root. */
export const root = fileURLToPath(new URL('../..', import.meta.url));

/** Number of compiler or checker processes to keep busy. */
export { availableParallelism as jobs } from 'node:os';

/**
 * The path of a dependency's command, to be run by `process.execPath`: that avoids the .cmd wrappers
 * that node_modules/.bin has on Windows.
 * @param {string} packageName
 * @param {string} [command] for a package with several commands
 */
export function bin(packageName, command = packageName) {
  const folder = join(root, 'node_modules', packageName);
  const { bin } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  return join(folder, typeof bin === 'string' ? bin : bin[command]);
}

/** Thrown when a command fails whose own output already says why. */
export class CommandError extends Error {}

/**
 * Runs a command with our own stdio and throws a CommandError when it fails.
 * @param {string} command
 * @param {string[]} args
 * @param {import('node:child_process').SpawnSyncOptions} [options]
 */
export function run(command, args, options = {}) {
  const { status, signal, error } = spawnSync(command, args, {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
    ...options,
  });
  if (error) throw new CommandError(`${command}: ${error.message}`);
  if (status !== 0) {
    throw new CommandError(`${[command, ...args].join(' ')}: ${signal ?? `exit code ${status}`}`);
  }
}

/**
 * Runs a command, echoes its output when `echo` is set, and returns it; never throws.
 * @param {string} command
 * @param {string[]} args
 * @param {{ echo?: boolean, env?: NodeJS.ProcessEnv }} [options]
 * @returns {Promise<{ ok: boolean, output: string, reason: string }>}
 */
export function capture(command, args, { echo = false, env = process.env } = {}) {
  return new Promise((resolve) => {
    let output = '';
    const child = spawn(command, args, { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const [from, to] of /** @type {const} */ ([
      [child.stdout, process.stdout],
      [child.stderr, process.stderr],
    ])) {
      from.setEncoding('utf8').on('data', (text) => {
        output += text;
        if (echo) to.write(text);
      });
    }
    child.on('error', ({ message }) => resolve({ ok: false, output, reason: message }));
    child.on('close', (code, signal) =>
      resolve({ ok: code === 0, output, reason: signal ?? `exit code ${code}` }),
    );
  });
}

/**
 * Whether a command can be found on the PATH.
 * @param {string} command
 */
export function available(command) {
  return !spawnSync(command, ['--version'], { stdio: 'ignore' }).error;
}

/**
 * Runs a script's main function: a CommandError ends it with one line, anything else with a trace.
 * @param {() => void | Promise<void>} main
 */
export async function script(main) {
  try {
    await main();
  } catch (error) {
    console.error(error instanceof CommandError ? error.message : error);
    process.exitCode = 1;
  }
}
