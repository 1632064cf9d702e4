import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { root } from './run.mjs';

/** The C++ and CUDA files that git knows or would add, relative to the root. */
export function nativeSources() {
  const args = ['ls-files', '--cached', '--others', '--exclude-standard', '--deduplicate', '-z'];
  return execFileSync('git', [...args, '--', '*.cpp', '*.cc', '*.h', '*.cu', '*.cuh'], {
    cwd: root,
    encoding: 'utf8',
  })
    .split('\0')
    .filter((path) => path !== '');
}

/** @returns {string} the clang-format that the lock file pins */
export const clangFormat = () =>
  createRequire(join(root, 'package.json'))('clang-format-node').clangFormatPath;

/** @param {string} path below the root */
export const readSource = (path) => readFileSync(join(root, path), 'utf8');
