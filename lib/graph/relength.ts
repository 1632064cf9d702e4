// A model at another length of its sequences: the same ops and parameters on shorter inputs. What
// has the model's length and depends on no input, a table of positions above all, is cut to its
// first rows.
import { TandemError } from '../errors.js';
import * as is from '../is.js';
import type { ModelState } from '../model/state.js';
import { apply } from './apply.js';
import { attributesAt, checkCarried } from './carry.js';
import { collect, type NamedValue, nodeOf } from './describe.js';
import { elementwise } from './elementwise.js';
import { freeInput, inputLike } from './leaves.js';
import { definition, type Node, showShape, type Value } from './value.js';

/** The values of a model at a length. */
export interface Relengthened {
  readonly inputs: readonly NamedValue[];
  readonly outputs: readonly NamedValue[];
  /** By number of input and of output: the axis of the length; undefined where there is none. */
  readonly inputAxes: readonly (number | undefined)[];
  readonly outputAxes: readonly (number | undefined)[];
  /** What a value of the model has become. */
  of(value: Value): Value;
}

/**
 * Positions in a row of the first input: its axis behind the batch. Throws ERR_ARGUMENT for a model
 * without any, or with a fixed batch.
 */
export function lengthOf({ inputs }: Pick<ModelState, 'inputs'>): number {
  const time = inputs[0]?.value.shape[1];
  const free = inputs.every(({ value }) => value.shape[0] === null);
  if (typeof time === 'number' && free) return time;
  throw new TandemError(
    'ERR_ARGUMENT',
    'expected a model of inputs [batch, time, ...] with a free batch for `lengths`, received another',
  );
}

/** Throws ERR_ARGUMENT for a model whose ops or parameters belong to one length. */
export function atLength(
  state: Pick<ModelState, 'inputs' | 'outputs'>,
  length: number,
): Relengthened {
  const rewriter = new Rewriter(lengthOf(state), length);
  const { inputs, outputs } = rewriter.model(state);
  const axisOf = ({ value }: NamedValue, now: NamedValue | undefined): number | undefined =>
    now === undefined ? undefined : rewriter.axis(value, now.value);
  return {
    inputs,
    outputs,
    inputAxes: state.inputs.map((named, i) => axisOf(named, inputs[i])),
    outputAxes: state.outputs.map((named, i) => axisOf(named, outputs[i])),
    of: (value) => rewriter.of(value),
  };
}

/** What training computes beside a model: see `trainingAtLength`. */
export interface Beyond {
  /** Inputs of the shapes of outputs by the same names, or of these without their last axes. */
  readonly targets: readonly NamedValue[];
  /** Inputs that have no length. */
  readonly others: readonly NamedValue[];
  /** What depends on all of these. */
  readonly values: readonly Value[];
}

/** A graph around a model, and that model, at another length. Throws as atLength. */
export function trainingAtLength(
  state: Pick<ModelState, 'inputs' | 'outputs'>,
  { targets, others, values }: Beyond,
  length: number,
): { readonly inputs: readonly NamedValue[] } & Pick<Beyond, 'targets' | 'values'> {
  const rewriter = new Rewriter(lengthOf(state), length);
  const { inputs } = rewriter.model(state);
  const made = targets.map(({ name, value }) => {
    const like = state.outputs.find((output) => output.name === name);
    return { name, value: like ? rewriter.target(value, like.value) : value };
  });
  rewriter.visitAll([...state.inputs, ...targets, ...others], values);
  return { inputs, targets: made, values: values.map((value) => rewriter.of(value)) };
}

class Rewriter {
  readonly #time: number;
  readonly #length: number;
  /** What each value has become that depends on the length. */
  readonly #made = new Map<Value, Value>();

  constructor(time: number, length: number) {
    this.#time = time;
    this.#length = length;
  }

  of(value: Value): Value {
    return this.#made.get(value) ?? value;
  }

  /** All of it. */
  model(state: Pick<ModelState, 'inputs' | 'outputs'>): Pick<Relengthened, 'inputs' | 'outputs'> {
    const inputs = state.inputs.map(({ name, value }) => ({ name, value: this.input(value) }));
    const values = state.outputs.map(({ value }) => value);
    this.visitAll(state.inputs, values);
    const outputs = state.outputs.map(({ name, value }) => ({ name, value: this.of(value) }));
    return { inputs, outputs };
  }

  /** Everything between those inputs and values, what has been visited before left out. */
  visitAll(inputs: readonly NamedValue[], values: readonly Value[]): void {
    const leaves = inputs.map(({ value }) => value);
    for (const value of collect(leaves, values).results) this.visit(value);
  }

  /** An input that has the shape of `output`, or that without its last axes. */
  target(value: Value, output: Value): Value {
    const now = this.#made.get(output);
    if (now === undefined) return value;
    const drop = output.shape.length - value.shape.length;
    const made = inputLike(definition(now).samples, drop, value.dtype, value.name ?? 'target');
    this.#made.set(value, made);
    return made;
  }

  /** Its first axis behind the batch, or the later ones of that length. */
  input(value: Value): Value {
    const { shape, dtype, name } = value;
    const cut = shape.map((size, i) => {
      const isTime = size === this.#time && i > 0 && (i === 1 || shape[1] !== this.#time);
      return isTime ? this.#length : size;
    });
    if (cut.every((size, i) => size === shape[i])) return value;
    const row = cut.slice(1).map(Number);
    const made = freeInput(row, dtype, name);
    this.#made.set(value, made);
    return made;
  }

  visit(value: Value): void {
    if (this.#made.has(value)) return;
    const node = nodeOf(value);
    if (!node.inputs.some((input) => input !== null && this.#made.has(input))) return;
    try {
      const operands = node.inputs.map((input) => this.#operand(node, value, input));
      const attributes = attributesAt(node, value, operands, this.#time, this.#length);
      const made = apply(node.op, operands, attributes);
      checkCarried(value, made);
      this.#made.set(value, made);
    } catch (error) {
      if (!(error instanceof TandemError)) throw error;
      const what = 'a model that computes at any length of its inputs';
      const received = `one whose \`${node.op}\` belongs to a length of ${this.#time}`;
      throw new TandemError(
        'ERR_ARGUMENT',
        `expected ${what} for \`lengths\`, received ${received}`,
        { cause: error },
      );
    }
  }

  /** The only axis in which the two differ. Throws ERR_ARGUMENT where it is not the length. */
  axis(was: Value, now: Value): number | undefined {
    const axes = was.shape.flatMap((size, i) => (size === now.shape[i] ? [] : [i]));
    const [axis] = axes;
    if (axis === undefined) return undefined;
    if (axes.length === 1 && was.shape[axis] === this.#time && now.shape[axis] === this.#length) {
      return axis;
    }
    const what = `inputs and outputs with one axis of ${this.#time}`;
    throw is.mismatch('ERR_ARGUMENT', what, 'lengths', showShape(was));
  }

  /** An operand beside one that was cut: cut like it where it is as long and meets it there. */
  #operand({ op, inputs }: Node, result: Value, input: Value | null): Value | null {
    if (input === null) return null;
    const made = this.#made.get(input);
    if (made !== undefined) return made;
    if (!elementwise.has(op)) return input;
    let cut = input;
    for (const [i, size] of input.shape.entries()) {
      const behind = input.shape.length - i;
      const meets = inputs.some((other) => {
        if (other === null || !this.#made.has(other)) return false;
        const axis = other.shape.length - behind;
        const now = this.of(other).shape[axis];
        return other.shape[axis] === this.#time && now === this.#length;
      });
      const spans = result.shape[result.shape.length - behind] === this.#time;
      if (size === this.#time && meets && spans) {
        cut = apply('slice', [cut], { axis: i, end: this.#length });
      }
    }
    return cut;
  }
}
