// What comes out of iterables and of calls that fail.

/**
 * All items, once they are there.
 * @template T
 * @param {AsyncIterable<T>} items
 * @returns {Promise<T[]>}
 */
export async function collect(items) {
  /** @type {T[]} */
  const all = [];
  for await (const item of items) all.push(item);
  return all;
}

/** What AVA expects of an error: its code, and its message where that matters. */
export const error = (code, message) => ({ code, ...(message && { message }) });
