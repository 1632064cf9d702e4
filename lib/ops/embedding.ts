import { apply } from '../graph/apply.js';
import { asOptional, asValue } from '../graph/leaves.js';
import { showShape, type Value } from '../graph/value.js';
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
    const received = `${showShape(w)} and ${showShape(table)}`;
    throw is.mismatch('ERR_SHAPE', 'w [count, dim] and positions [n, dim]', 'embedding', received);
  }
  const time = index.shape.at(-1);
  if (typeof time !== 'number' || time > count) {
    const expected = `index [..., time] with a time of at most ${count}`;
    const received = `${showShape(index)} and positions ${showShape(table)}`;
    throw is.mismatch('ERR_SHAPE', expected, 'embedding', received);
  }
  return time === count ? table : slice(table, { axis: 0, end: time });
}
