import type { InitializerDescription } from '../../bindings.js';
import * as is from '../is.js';
import * as ops from '../ops/embedding.js';
import { checkInitializer, type Initializer, weightInitializer } from './initializers.js';
import { type Layer, makeLayer } from './layer.js';

/** Options of embedding. */
export interface EmbeddingOptions {
  /** Length of a learned table of positions that is added; none by default. */
  positions?: number;
  /** Begins the names of its parameters; `embedding`, `embedding_1`, ... by default. */
  name?: string;
  /** How the tables start; 'pytorch' by default: normal with mean 0 and deviation 1. */
  initializer?: Initializer;
}

/**
 * Learned vectors by number: from int32 `[..., time]` to `[..., time, dim]`. With `positions`, row i
 * of a second table is added at time i; time is that length or shorter. Parameters: `weight`
 * [count, dim], as in torch.nn.Embedding, and `positions` [positions, dim]. Throws ERR_ARGUMENT; when
 * called, ERR_SHAPE and ERR_DTYPE. Numbers outside of [0, count) throw ERR_ARGUMENT when they are
 * fed.
 */
export function embedding(count: number, dim: number, options?: EmbeddingOptions): Layer;
export function embedding(
  count: number,
  dim: number,
  options?: EmbeddingOptions,
  ...more: unknown[]
): Layer {
  is.lastArgument(more, 'embedding');
  is.integer(count, 'count', 1);
  is.integer(dim, 'dim', 1);
  const set = is.options(options, 'options of embedding', ['positions', 'name', 'initializer']);
  const { positions } = set;
  if (positions !== undefined) is.integer(positions, 'positions', 1);
  const initializer = tableInitializer(checkInitializer(set.initializer), dim);
  return makeLayer('embedding', set.name, (own, index) => {
    const weight = own.parameter('weight', [count, dim], initializer(count));
    if (positions === undefined) return ops.embedding(index, weight);
    const table = own.parameter('positions', [positions, dim], initializer(positions));
    return ops.embedding(index, weight, { positions: table });
  });
}

/** A table is a weight whose inputs are rows: of one each is read. */
function tableInitializer(
  name: Initializer,
  dim: number,
): (count: number) => InitializerDescription {
  if (name === 'pytorch') return () => ({ kind: 'normal', a: 0, b: 1 });
  return (count) => weightInitializer(name, count, dim);
}
