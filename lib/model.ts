import type { DType, ParameterDescription } from '../bindings.js';
import { RowEncoder } from './data/encoder.js';
import { readModel } from './files/load.js';
import { writeModel } from './files/save.js';
import {
  collect,
  describe,
  type NamedValue,
  nameLayers,
  nodeOf,
  parameterOf,
} from './graph/describe.js';
import { input } from './graph/leaves.js';
import { type Dimension, elements, type LayerIdentity, Value } from './graph/value.js';
import * as is from './is.js';
import type { Layer } from './layers/layer.js';
import { nameValues, type Values } from './model/names.js';
import { bare, blank, stateOf, states } from './model/state.js';
import { summarize } from './model/summary.js';
import { native } from './native.js';

export type { Values };

/** A parameter as users see it. */
export interface Parameter {
  readonly shape: readonly number[];
  readonly dtype: DType;
  /** A live view of native memory, row-major: reading and writing it needs no copy. Stays valid. */
  readonly data: Float32Array;
  /**
   * Whether training updates it. Set to false it is frozen for Trainers that are made from then on;
   * files do not keep that. Running statistics are never trainable, nor is what `parameter` makes with
   * `trainable: false`. Throws ERR_ARGUMENT.
   */
  trainable: boolean;
}

/** An input or an output of a model. */
export interface Port {
  readonly name: string;
  /** Null where a dimension depends on the number of rows. */
  readonly shape: readonly Dimension[];
  readonly dtype: DType;
}

/** The ends of a model's graph, and how its parameters start. */
export interface ModelOptions {
  /** Values made by `input`: everything that the outputs depend on. */
  inputs: Values;
  /** Any values of the graph; one has the name `y` unless a record or an input gives another. */
  outputs: Values;
  /** Of the initial parameters, an integer of 0 or more; 0 by default. */
  seed?: number;
  /** Heads the summary and is kept in files; 'model' by default. */
  name?: string;
}

/**
 * A graph between inputs and outputs with its parameters. Inputs and outputs are one value, an array
 * or a record of names. An input without a name is called `x` (then `x_1`, ...), an output `y`.
 * Parameters are called `<layer name>.weight` and so on; a layer without a name gets its type, then
 * `<type>_1`, ... in the order in which layers were first called. A layer that another model has
 * too starts from its values there. Throws ERR_ARGUMENT, ERR_OUT_OF_MEMORY.
 */
export class Model {
  readonly name: string;
  readonly inputs: readonly Port[];
  readonly outputs: readonly Port[];
  /** By name, in the order of the graph. */
  readonly parameters: ReadonlyMap<string, Parameter>;

  constructor(options: ModelOptions) {
    const set = is.options(options, 'options of Model', ['inputs', 'outputs', 'seed', 'name']);
    const seed = is.integer(set.seed ?? 0, 'seed', 0);
    this.name = set.name === undefined ? 'model' : is.string(set.name, 'name');
    const inputs = nameValues(set.inputs, 'inputs', 'x').named;
    const { named: outputs, form: outputForm } = nameValues(set.outputs, 'outputs', 'y');

    const values = inputs.map(({ value }) => value);
    if (new Set(values).size < values.length) {
      throw is.invalid('different values', 'inputs', 'one value twice');
    }
    const targets = outputs.map(({ value }) => value);
    const parts = collect(values, targets);
    const layers: LayerIdentity[] = [];
    for (const result of parts.results) {
      const { layer } = nodeOf(result);
      if (layer !== undefined) layers.push(layer);
    }
    for (const value of parts.parameters) layers.push(parameterOf(value).layer);
    const layerNames = nameLayers(layers);
    const parameters = parts.parameters.map((value): NamedValue => {
      const { layer, suffix } = parameterOf(value);
      return { name: `${layerNames.get(layer)}.${suffix}`, value };
    });
    const { graph } = describe(inputs, targets, parameters);
    const isBare = Object.hasOwn(options, bare);
    const isBlank = Object.hasOwn(options, blank);
    const started = isBlank ? graph.parameters.map(zeros) : graph.parameters;
    const arena = new native.Parameters(isBare ? [] : started, seed);

    const views = new Map<string, Parameter>();
    parameters.forEach(({ name, value }, i) => {
      const source = parameterOf(value);
      const { shape, trainable } = source;
      const data = isBare
        ? new Float32Array(0)
        : new Float32Array(arena.buffer, arena.offsets[i], elements(shape));
      if (!isBlank) {
        if (source.data !== undefined) {
          if (source.data.length !== data.length) {
            const what = 'memory that has been transferred elsewhere';
            throw is.mismatch('ERR_ARGUMENT', 'the values of another model', name, what);
          }
          data.set(source.data);
        }
        source.data = data;
      }
      views.set(name, makeParameter(name, { shape, dtype: value.dtype, data, trainable }));
    });
    this.parameters = views;
    this.inputs = inputs.map(port);
    this.outputs = outputs.map(port);
    states.set(this, {
      inputs,
      outputs,
      outputForm,
      parameters,
      layerNames,
      native: arena,
      devices: new Set(),
      encoder: undefined,
      training: false,
      taken: undefined,
      looks: new Set(),
      copies: new Set(),
      restoring: undefined,
    });
  }

  /** A table of layers, output shapes and numbers of parameters. */
  summary(): string {
    return summarize(this.name, stateOf(this));
  }

  /**
   * What makes the model's inputs of raw rows: that of the data that fit took last, or of its file.
   * It is saved with the model, and `predictor.predictRows` uses it. Throws ERR_ARGUMENT.
   */
  get encoder(): RowEncoder | undefined {
    const { encoder } = stateOf(this);
    return encoder && new RowEncoder(encoder);
  }

  set encoder(encoder: RowEncoder | undefined) {
    if (encoder !== undefined && !(encoder instanceof RowEncoder)) {
      throw is.invalid('a RowEncoder', 'encoder', encoder);
    }
    stateOf(this).encoder = encoder?.state;
  }

  /**
   * Writes graph and parameters to one safetensors file, which other tools read too. The parameters
   * are those at the time of the call: fit and step wait until they are copied, and large ones (more than
   * a megabyte) have to be left alone as long. The file appears whole or not at all: it is written beside
   * `path`, synced and renamed. Rejects with ERR_BUSY while a step is training the model, or
   * earlyStopping puts its best weights back, with ERR_ARGUMENT where a device or a pipe is in its place,
   * or with an error of the file system.
   */
  async save(path: string | URL): Promise<void> {
    await writeModel(this, path);
  }

  /**
   * Reads what `save` wrote. Everything in the file is checked before memory is taken for it: rejects
   * with ERR_FILE_FORMAT, or with an error of the file system.
   */
  static async load(path: string | URL): Promise<Model> {
    return await readModel(path, (options) => new Model(options));
  }
}

/** A parameter that starts from zeros, which takes no time. */
const zeros = (parameter: ParameterDescription): ParameterDescription => ({
  ...parameter,
  initializer: { kind: 'constant', a: 0, b: 0 },
});

/** `trainable` can be changed where the parameter is one that training may update. */
function makeParameter(name: string, { trainable: able, ...fixed }: Parameter): Parameter {
  let trainable = able;
  return Object.freeze({
    ...fixed,
    get trainable(): boolean {
      return trainable;
    },
    set trainable(value: boolean) {
      const wanted = is.boolean(value, 'trainable');
      if (wanted && !able) {
        const received = 'true for one that is never trained';
        throw is.mismatch('ERR_ARGUMENT', 'false', `${name}.trainable`, received);
      }
      trainable = wanted;
    },
  });
}

/** A named value as users see it. */
export const port = ({ name, value }: NamedValue): Port =>
  Object.freeze({ name, shape: value.shape, dtype: value.dtype });

/** What goes into the first layer, and how parameters start. */
export interface SequentialOptions {
  /** Shape of one row, without the batch; or an input made by `input`. */
  input: readonly number[] | Value;
  /** Of the initial parameters, an integer of 0 or more; 0 by default. */
  seed?: number;
  /** Heads the summary and is kept in files; 'model' by default. */
  name?: string;
}

/**
 * A model of layers, each applied to the result of the one before it. Any function of a value can
 * stand among them. Throws ERR_ARGUMENT, ERR_SHAPE, ERR_DTYPE.
 *
 * @example sequential([dense(64, { activation: 'relu' }), dense(10)], { input: [784], seed: 1 })
 */
export function sequential(
  layers: readonly (Layer | ((x: Value) => Value))[],
  options: SequentialOptions,
): Model {
  if (!Array.isArray(layers) || layers.length === 0) {
    throw is.invalid('an array of one layer or more', 'layers', layers);
  }
  const set = is.options(options, 'options of sequential', ['input', 'seed', 'name']);
  const x = set.input instanceof Value ? set.input : input(set.input);
  let y = x;
  layers.forEach((layer: unknown, i) => {
    if (typeof layer !== 'function') throw is.invalid('a layer', `layers[${i}]`, layer);
    const result: unknown = layer(y);
    if (!(result instanceof Value)) {
      throw is.mismatch(
        'ERR_ARGUMENT',
        'a layer that returns a Value',
        `layers[${i}]`,
        is.show(result),
      );
    }
    y = result;
  });
  const { seed, name } = set;
  return new Model({
    inputs: x,
    outputs: y,
    ...(seed !== undefined && { seed }),
    ...(name !== undefined && { name }),
  });
}
