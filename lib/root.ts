/**
 * The folder of the package. Built code is in `dist/`, in its entry points or in a chunk beside them,
 * never in a folder below: only this module and the entry points may ask where they are.
 */
export const packageRoot: URL = new URL('..', import.meta.url);
