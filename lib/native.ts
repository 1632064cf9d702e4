import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

/** The addon: prebuilds/ of a published package, build/ of a clone or of an install from source. */
export const native: typeof import('../bindings.js') = createRequire(import.meta.url)(
  'node-gyp-build',
)(fileURLToPath(new URL('..', import.meta.url)));
