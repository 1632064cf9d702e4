import { apply } from '../graph/apply.js';
import { asOptional, asValue } from '../graph/leaves.js';
import { expectFloat32, misshapen } from '../graph/operands.js';
import type { Value } from '../graph/value.js';
import * as is from '../is.js';
import { add } from './elementwise.js';
import { slice } from './shapes.js';

/** The option of functional.embedding. */
export interface EmbeddingOptions {
  /** A table [positions, dim] whose row i is added at time i; none by default. */
  positions?: Value | null;
}

/**
 * Rows of a table by number: index [...] (int32), w [count, dim]; the result is [..., dim]. With
 * `positions`, index is [..., time] of that many positions or fewer. Throws ERR_SHAPE, ERR_DTYPE.
 * Feeding a number outside of [0, count) throws ERR_ARGUMENT; one that only the graph computes gives
 * a row of NaN.
 */
export function embedding(index: Value, w: Value, options?: EmbeddingOptions): Value {
  const { positions } = is.options(options, 'options of embedding', ['positions']);
  const rows = apply('embedding', [asValue(index, 'index'), asValue(w, 'w')]);
  const table = asOptional(positions, 'positions');
  return table === null ? rows : add(rows, firstRows(table, index, w));
}

/** The first rows of a table of positions: as many as the index is long. */
function firstRows(table: Value, index: Value, w: Value): Value {
  const [count, width] = table.shape;
  if (table.shape.length !== 2 || typeof count !== 'number' || width !== w.shape[1]) {
    throw misshapen('embedding', 'w [count, dim] and positions [n, dim]', { w, positions: table });
  }
  expectFloat32('embedding', { positions: table });
  const time = index.shape.at(-1);
  if (typeof time !== 'number' || time > count) {
    const expected = `index [..., time] with a time of at most ${count}`;
    throw misshapen('embedding', expected, { index, positions: table });
  }
  return time === count ? table : slice(table, { axis: 0, end: time });
}
