import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { TandemError } from './errors.js';

/** The addon: prebuilds/ of a published package, build/ of a clone or of an install from source. */
export const native: typeof import('../bindings.js') = createRequire(import.meta.url)(
  'node-gyp-build',
)(fileURLToPath(new URL('..', import.meta.url)));

// Native code only knows the codes of ErrorCode.
native.setErrorClass(TandemError as new (code: string, message: string) => TandemError);
