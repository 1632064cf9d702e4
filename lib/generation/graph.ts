// A causal model, rewritten so that each row is one token of some sequence: attention reads the keys
// and values of earlier tokens from a cache, and positions come from the caller. A prompt is many rows
// of one sequence, a step of sixteen sequences is sixteen rows, and both may stand in one run.
import type { GraphDescription } from '../../bindings.js';
import { TandemError } from '../errors.js';
import { apply } from '../graph/apply.js';
import { collect, describe, type NamedValue, nodeOf } from '../graph/describe.js';
import { elementwise, unary } from '../graph/elementwise.js';
import { fixedInput, freeInput } from '../graph/leaves.js';
import { elements, type Node, type Value } from '../graph/value.js';
import * as is from '../is.js';
import type { ModelState } from '../model/state.js';
import { plainKey, type Variants } from '../predictor/loaded.js';
import type { Quantized } from '../quantization/quantize.js';
import { quantizeVariant } from '../quantization/variant.js';

/** What a Predictor keeps for its generations. */
export interface GenerationOptions {
  /** Generations that take part in a step at one time; others wait for their turn. 16 by default. */
  sequences?: number;
  /** Tokens of a sequence at most, prompt included; those of the model's input by default. */
  length?: number;
}

/** Sizes of the cache, and what one step computes. */
export interface GenerationPlan {
  readonly sequences: number;
  readonly length: number;
  /** Numbers that a token is chosen by. */
  readonly vocabulary: number;
  /** Of all caches. */
  readonly cacheBytes: number;
  /** Inputs: tokens, slots and positions `[rows, 1]`, then the caches; output: logits. */
  readonly graph: GraphDescription;
}

/** Ops that read a row of x, the first operand, and weights. */
const rowwise = new Set(['linear', 'layerNorm', 'rmsNorm', 'embedding']);
const reductions = new Set(['sum', 'mean', 'max', 'min', 'variance']);
const softmaxes = new Set(['softmax', 'logSoftmax']);

/**
 * Checks the model and rewrites it. Throws ERR_ARGUMENT for one that is not causal, for an op that
 * mixes tokens in another way, and for a cache longer than the model's positions. Of a quantized model,
 * nodes are computed as its are, but for attention over the cache, which is of floats.
 */
export function planGeneration(
  state: ModelState,
  options: GenerationOptions,
  quantized?: Pick<Quantized, 'frozen' | 'graph'>,
): GenerationPlan {
  const set = is.options(options, 'generation', ['sequences', 'length']);
  const { tokens, logits, time, vocabulary } = ends(state);
  const sequences = is.integer(set.sequences ?? 16, 'generation.sequences', 1, 4096);
  const length = is.integer(set.length ?? time, 'generation.length', 1);
  if (length > time) {
    const what = `at most ${time} tokens, the positions that the model has,`;
    throw is.mismatch('ERR_ARGUMENT', what, 'generation.length', String(length));
  }
  const rewriter = new Rewriter(tokens.value, time, sequences, length);
  for (const value of collect([tokens.value], [logits.value]).results) rewriter.visit(value);
  const output = rewriter.of(logits.value);
  const described = describe(rewriter.inputs, [output], state.parameters);
  const graph = quantized
    ? quantizeVariant(quantized, described, (value) => rewriter.of(value))
    : described.graph;
  const { cacheBytes } = rewriter;
  return { sequences, length, vocabulary, cacheBytes, graph };
}

/** What a Predictor is loaded with beside the model's own graph. */
export const generationVariants = (plan: GenerationPlan | undefined): Variants =>
  plan === undefined
    ? { graphs: [], key: plainKey }
    : { graphs: [plan.graph], key: `generates ${plan.sequences}x${plan.length}` };

function ends({ inputs, outputs }: ModelState) {
  const [tokens, ...others] = inputs;
  const [logits, ...more] = outputs;
  const [, time] = tokens?.value.shape ?? [];
  const shape = logits?.value.shape ?? [];
  const vocabulary = shape[2];
  const fits =
    tokens !== undefined &&
    logits !== undefined &&
    others.length + more.length === 0 &&
    tokens.value.dtype === 'int32' &&
    tokens.value.shape.length === 2 &&
    tokens.value.shape[0] === null &&
    typeof time === 'number' &&
    shape.length === 3 &&
    shape[1] === time &&
    typeof vocabulary === 'number';
  if (fits) return { tokens, logits, time, vocabulary };
  throw new TandemError(
    'ERR_ARGUMENT',
    'expected a model of tokens [batch, time] (int32) with logits [batch, time, vocabulary] for `generation`, received another',
  );
}

class Rewriter {
  readonly #time: number;
  readonly #sequences: number;
  readonly #length: number;
  readonly #slots = freeInput([1], 'int32');
  readonly #positions = freeInput([1], 'int32');
  readonly #caches: Value[] = [];
  /** What each value that depends on the tokens has become. */
  readonly #rows = new Map<Value, Value>();

  constructor(tokens: Value, time: number, sequences: number, length: number) {
    this.#time = time;
    this.#sequences = sequences;
    this.#length = length;
    this.#rows.set(tokens, freeInput([1], 'int32'));
  }

  get inputs(): NamedValue[] {
    const [tokens] = this.#rows.values();
    const named = [tokens, this.#slots, this.#positions, ...this.#caches].flatMap((value, i) =>
      value === undefined ? [] : [{ name: `input${i}`, value }],
    );
    return named;
  }

  get cacheBytes(): number {
    return this.#caches.reduce((sum, { shape }) => sum + 4 * elements(shape.map(Number)), 0);
  }

  of(value: Value): Value {
    return this.#rows.get(value) ?? value;
  }

  visit(value: Value): void {
    const node = nodeOf(value);
    if (!node.inputs.some((input) => input !== null && this.#rows.has(input))) return;
    const made = this.#rewrite(node);
    const [was, now] = [value.shape, made.shape];
    const same =
      was.length === now.length &&
      was.every((size, i) => (i === 1 ? size === this.#time && now[i] === 1 : size === now[i]));
    if (!same) throw mixes(node.op);
    this.#rows.set(value, made);
  }

  #rewrite(node: Node): Value {
    const { op, attributes } = node;
    const [first = null, ...rest] = node.inputs;
    const x = first === null ? undefined : this.#rows.get(first);
    if (op === 'attention') return this.#attention(node);
    if (op === 'dropout' && x) return x;
    if (op === 'rotary' && x) return apply(op, [x, this.#positions], attributes);
    const own =
      unary.has(op) ||
      (rowwise.has(op) && !rest.some((value) => this.#depends(value))) ||
      (reductions.has(op) && onlyLast(attributes.axes)) ||
      (softmaxes.has(op) && onlyLast([Number(attributes.axis ?? -1)])) ||
      (op === 'slice' && onlyLast([Number(attributes.axis ?? 0)])) ||
      (op === 'matmul' && rest.every((value) => !this.#depends(value) && isMatrix(value)));
    if (own && x) return apply(op, [x, ...rest], attributes);
    const all = node.inputs.map((value) => this.#operand(value, op));
    if (elementwise.has(op)) return apply(op, all, attributes);
    if (op === 'concat' && onlyLast([Number(attributes.axis ?? 0)])) {
      return apply(op, all, attributes);
    }
    throw mixes(op);
  }

  #depends(value: Value | null): boolean {
    return value !== null && this.#rows.has(value);
  }

  /** An operand that meets rows of tokens: of a table with a row for each position, those rows. */
  #operand(value: Value | null, op: string): Value | null {
    if (value === null) return null;
    const row = this.#rows.get(value);
    if (row !== undefined) return row;
    const { shape } = value;
    if (shape.length < 2 || shape[shape.length - 2] === 1) return value;
    const leading = shape.slice(0, -2);
    const width = shape[shape.length - 1];
    if (
      shape[shape.length - 2] !== this.#time ||
      typeof width !== 'number' ||
      value.dtype !== 'float32' ||
      leading.some((size) => size !== 1)
    ) {
      throw mixes(op);
    }
    const table =
      leading.length === 0 ? value : apply('reshape', [value], { shape: [this.#time, width] });
    return apply('embedding', [this.#positions, table]);
  }

  #attention({ inputs, attributes }: Node): Value {
    const [, , , mask = null] = inputs;
    const parts = inputs.slice(0, 3).flatMap((value) => (value === null ? [] : [value]));
    const heads = Number(attributes.heads ?? 0);
    if (attributes.causal !== true || mask !== null || heads < 1) {
      throw new TandemError(
        'ERR_ARGUMENT',
        'expected causal attention without a mask, its heads side by side as in the layers, for `generation`, received another',
      );
    }
    const rows = parts.map((value) => this.#rows.get(value));
    if (rows.includes(undefined)) throw mixes('attention');
    const joined = rows as Value[];
    const [only] = joined;
    const qkv = joined.length === 1 && only ? only : apply('concat', joined, { axis: 2 });
    const width = Number(qkv.shape[2]) / 3;
    const cache = fixedInput([this.#sequences, this.#length, 2 * width], 'float32');
    this.#caches.push(cache);
    return apply('cachedAttention', [qkv, cache, this.#slots, this.#positions], { heads });
  }
}

const isMatrix = (value: Value | null): boolean => value?.shape.length === 2;

/** Whether axes, of values [batch, time, dim], are the last alone. */
const onlyLast = (axes: unknown): boolean =>
  Array.isArray(axes) && axes.length > 0 && axes.every((axis) => axis === 2 || axis === -1);

function mixes(op: string): TandemError {
  return new TandemError(
    'ERR_ARGUMENT',
    `expected a model that relates tokens by causal attention alone for \`generation\`, received one whose \`${op}\` does so or may`,
  );
}
