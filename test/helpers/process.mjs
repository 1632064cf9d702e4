// Node in a process of its own.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';

/**
 * Runs Node with these arguments to its end.
 * @param {readonly string[]} args
 * @param {import('node:child_process').SpawnOptionsWithoutStdio} [options]
 */
export async function runNode(args, options) {
  const child = spawn(process.execPath, args, options);
  child.stdin.end();
  const [[status, signal], stdout, stderr] = await Promise.all([
    once(child, 'exit'),
    text(child.stdout),
    text(child.stderr),
  ]);
  return { status, signal, stdout, stderr };
}

/**
 * The same with the text of a module.
 * @param {string} script
 * @param {{ flags?: readonly string[] } & import('node:child_process').SpawnOptionsWithoutStdio} [options]
 */
export const runModule = (script, { flags = [], ...options } = {}) =>
  runNode([...flags, '--input-type=module', '-e', script], options);
