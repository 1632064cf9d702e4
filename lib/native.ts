import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { TandemError } from './errors.js';

type Addon = typeof import('../bindings.js');

function load(): Addon {
  const root = fileURLToPath(new URL('..', import.meta.url));
  try {
    return createRequire(import.meta.url)('node-gyp-build')(root) as Addon;
  } catch (cause) {
    const where = `${process.platform}-${process.arch}, Node ${process.versions.node}`;
    throw new TandemError(
      'ERR_DEVICE',
      `expected an addon built for ${where}, found none that loads (${String(cause)}); \`npm rebuild tandem-ml\` builds it with CMake and a C++20 compiler`,
      { cause },
    );
  }
}

/** The addon: build/ of a clone or of an install from source, prebuilds/ of a published package. */
export const native: Addon = load();

// Native code only knows the codes of ErrorCode.
native.setErrorClass(TandemError as new (code: string, message: string) => TandemError);
