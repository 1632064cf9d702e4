// The addon's own surface: what native/binding exports and lib/ calls. Not public; the public
// contract is dist/index.d.ts. test/bindings.test.mjs checks that both sides have the same names.
// Every function throws the class given to setErrorClass(), with the codes of lib/errors.ts.

export type DType = 'float32' | 'int32';
export type TypedArray =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Uint8ClampedArray
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array;
export type AttributeValue = number | boolean | readonly number[];
export type Attributes = Readonly<Record<string, AttributeValue>>;

export interface TensorSpec {
  shape: readonly number[];
  dtype: DType;
}

export interface OpDescription {
  name: string;
  /** Made by passes of the compiler, not offered to users. */
  internal: boolean;
  minInputs: number;
  maxInputs: number;
  attributes: readonly {
    name: string;
    type: 'number' | 'integer' | 'boolean' | 'integers' | 'pair';
    required: boolean;
  }[];
}

export interface InputDescription {
  name: string;
  /** The whole shape; -1 at axis 0 is the free batch dimension. */
  shape: readonly number[];
  dtype: DType;
}

/** uniform in [a, b), normal with mean a and deviation b (also truncated at two deviations), or a. */
export interface InitializerDescription {
  kind: 'uniform' | 'normal' | 'truncatedNormal' | 'constant';
  a: number;
  b: number;
}

export interface ParameterDescription {
  name: string;
  shape: readonly number[];
  /** 'int8': signed bytes in memory, which quantized nodes alone read, and no Trainer changes. */
  dtype: DType | 'int8';
  trainable: boolean;
  initializer: InitializerDescription;
}

export interface ConstantDescription {
  shape: readonly number[];
  data: Float32Array | Int32Array;
}

export interface NodeDescription {
  op: string;
  /** Numbers of values; -1 where an optional input is left out. */
  inputs: readonly number[];
  attributes: Attributes;
  /** Of predictions: computes the node with 8-bit integers. */
  quantization?: QuantizationDescription;
}

/** How one linear, conv1d, conv2d, embedding or attention node is computed with bytes. */
export interface QuantizationDescription {
  /** Inputs as bytes by `scale` and `zero`; by the range of each row; or weights as bytes alone. */
  mode: 'static' | 'dynamic' | 'weights';
  /** A byte of the input stands for (byte - zero) * scale. */
  scale: number;
  zero: number;
  /** One for each row of the weight, outermost axis first; none for attention. */
  weightScales: Float32Array;
  /** Different for each node; the same in all graphs of a Predictor, which share packed weights by it. */
  index: number;
}

/**
 * A graph as plain data. Values are numbered: inputs, parameters, constants, then the first
 * output of each node. A node may only read values of smaller numbers.
 */
export interface GraphDescription {
  inputs: readonly InputDescription[];
  parameters: readonly ParameterDescription[];
  constants: readonly ConstantDescription[];
  nodes: readonly NodeDescription[];
  outputs: readonly number[];
}

export interface ProfileDescription {
  /** Floating-point operations of one step (Trainer) or one prediction (Predictor) at `batch` rows. */
  flops: number;
  batch: number;
  /** Bytes as allocated. */
  memory: {
    parameters: number;
    gradients: number;
    optimizer: number;
    activations: number;
    workspace: number;
    /** Keys and values of a Predictor that generates; left out elsewhere. */
    cache?: number;
    total: number;
  };
  latencyMs: { p50: number; p99: number };
  /** 'cpu' or 'cuda:0'. */
  device: string;
  /** Why it is the CPU where 'auto' looked for a GPU; left out where it is one or none was wanted. */
  deviceReason?: string;
  /** Names of the ops in order of execution; with " bf16" where they multiply bfloat16. */
  kernels: string[];
}

export const version: string;
/** Class of every error thrown: called with (code, message). */
export function setErrorClass(errorClass: new (code: string, message: string) => Error): void;
/**
 * The instruction set in use, what kernels use of this processor beyond it ('amx_bf16'), the instruction
 * sets that this processor has (best first), and the pool's threads.
 */
export function cpu(): {
  isa: string;
  extensions: string[];
  available: string[];
  threads: number;
};
/**
 * Bytes that the CPU backend of the process holds: parameters, gradients, optimizer state, arenas and
 * packed weights, and the scratch memory of threads. Not of them: rows on their way to a step.
 */
export function heldMemory(): { blocks: number; scratch: number };
/** The CPU, then each GPU of NVIDIA's driver, or one entry 'cuda' that says why there is none. */
export function devices(): { name: string; description: string; reason?: string }[];
/**
 * Starts the thread of predictions and looks for the device there ('auto' where it is undefined), so that
 * what is loaded next finds both ready. Resolves whether there is one or not.
 */
export function findDevice(device?: string): Promise<void>;
export function ops(): OpDescription[];
/** Whether graphs may have an op of this name: one that is not internal. */
export function hasOp(name: string): boolean;
/** Output tensors of one op. Throws ERR_SHAPE, ERR_DTYPE or ERR_ARGUMENT. */
export function infer(
  op: string,
  attributes: Attributes,
  inputs: readonly (TensorSpec | null)[],
): TensorSpec[];
/**
 * First position in `values` outside [low, high) and different from `ignored`, or -1. Also finds
 * fractions in float arrays.
 */
export function findOutside(values: TypedArray, low: number, high: number, ignored: number): number;
/** First position of a NaN or an infinity, or -1. */
export function findNonFinite(values: Float32Array): number;
/**
 * Cells of lines, from `cursor` on: a Float64Array gets a column's numbers, NaN for empty and `missing`
 * cells; an Int32Array where its texts begin and end with the quotes round them, two numbers each; null
 * nothing. Quotes are those round cells, and doubled ones in these. Goes on up to the end of `bytes`, as
 * many rows as `records` has places, a line for each number of `kept` (0: no row of it), or behind so many
 * faulty lines as `cursor` has room for. `records` gets the rows' lines, counted from `firstRecord`.
 * `cursor` has the place of the next line, the lines (but empty ones) and the rows so far, and how many of
 * the lines were faulty; then six numbers for each of these: the lines up to it, the fault (1: more or fewer
 * cells than columns, 2: no number, 3: a text that is not UTF-8), its cells, and of its bad cell the column,
 * the beginning and the end. Throws ERR_ARGUMENT, ERR_DTYPE, ERR_SHAPE.
 */
export function readCells(
  bytes: Uint8Array,
  delimiter: number,
  missing: readonly string[],
  columns: readonly (Float64Array | Int32Array | null)[],
  records: Float64Array,
  firstRecord: number,
  kept: Uint8Array | null,
  cursor: Uint32Array,
): void;
/** Gives the thread that calls the priority of the engine's, a little lower than the process's. */
export function lowerPriority(): void;

/** `feeds` for the inputs of `graph` at `batch` rows; one array an output. Runs on the caller. */
export function evaluate(
  graph: GraphDescription,
  batch: number,
  feeds: readonly TypedArray[],
  options: { training: boolean; seed: number; threads: number; device?: string },
): (Float32Array | Int32Array)[];
/** Outputs, and gradients of the values numbered `wrt`, for these cotangents of the outputs. */
export function vjp(
  graph: GraphDescription,
  batch: number,
  feeds: readonly TypedArray[],
  cotangents: readonly (Float32Array | null)[],
  wrt: readonly number[],
  options: { training: boolean; seed: number; threads: number; device?: string },
): { outputs: (Float32Array | Int32Array)[]; gradients: Float32Array[] };

/**
 * Stands for a native object in the calls that must be brief: Node-API finds the object behind a
 * receiver in more time than a small model takes to run. It does not keep the object alive.
 */
export interface Key<T> {
  /** Never there: it tells the type checker of what. */
  readonly of?: T;
}

/**
 * Leases the memory of arrays that a pending call of JavaScript's own is going to write, as those of
 * native calls are: ERR_BUSY when some of it is leased, or belongs to two of them. The result stands
 * for them in endLease(), and ends the lease when it is collected.
 */
export function lease(...arrays: TypedArray[]): object;
export function endLease(lease: object): void;

/** `arrays`: one a graph input, then one an output, which may overlap inputs, written on return. */
export function predictSync(predictor: Key<Predictor>, rows: number, ...arrays: TypedArray[]): void;
/**
 * The same on the plans of predict(), where that is expected to take less time than the way to another
 * thread and back, and the event loop has not been held up for long. Whether it has run; otherwise, and
 * where it throws, nothing is written.
 */
export function predictHere(
  predictor: Key<Predictor>,
  rows: number,
  ...arrays: TypedArray[]
): boolean;
/**
 * Runs on the binding's buffers. Whether any pending call is going to write memory of JavaScript.
 */
export function runSync(binding: Key<Binding>): boolean;

/** The parameters of a model: one native arena. */
export class Parameters {
  constructor(parameters: readonly ParameterDescription[], seed: number);
  /** The arena's memory; stays valid for as long as anything refers to it. */
  readonly buffer: ArrayBuffer;
  /** Byte offset of each parameter in `buffer`. */
  readonly offsets: readonly number[];
  /**
   * Frees the arena now instead of when it is collected: `buffer` is detached, and the object of no
   * more use: ERR_CLOSED. ERR_BUSY when a Trainer has it.
   */
  release(): void;
}

/** Integers in [low, high], and `ignored`. */
export interface IntegerRange {
  low: number;
  high: number;
  ignored: number;
}

export interface TrainerDescription {
  /**
   * 'sgd', 'adam', 'rmsprop', 'adagrad', 'lion' or 'lamb', with that op's attributes for each group of
   * parameters, and the group of each parameter of the graph, -1 where none changes it.
   */
  optimizer: { op: string; groups: readonly Attributes[]; groupOf: readonly number[] };
  /** Norm that gradients are clipped to; 0 for none. */
  maxGradNorm: number;
  /** Value that gradients are clipped to, before the norm; 0 for none. */
  maxGradValue: number;
  /** Of the moving averages of parameters; 0 for none. */
  averageDecay: number;
  /** Whether steps may have several micro-batches. */
  accumulates: boolean;
  /**
   * Numbers of the graph's outputs that means divide by, for divisors(); and how many terms of the
   * loss divide by different ones: the last input of the graph, which gets no rows, is then a factor
   * for each, of `train`'s `scales`.
   */
  divisors: readonly number[];
  scales: number;
  /** Of the forward pass that are computed anew: 0 for none, -1 for as many as need the least memory. */
  segments: number;
  /** With checkNumerics: leave out steps that are not finite; null to throw. */
  skip: { backoff: number; recoverySteps: number; maxSkips: number } | null;
  /** Leave the model alone and throw ERR_NUMERIC when the loss or a gradient is not finite. */
  checkNumerics: boolean;
  /**
   * 'bf16-mixed': matrix products of operands rounded to bfloat16, all else in float32. 'fp16-mixed':
   * the same of float16, with losses scaled, and steps skipped whose gradients are not finite.
   */
  precision: 'float32' | 'bf16-mixed' | 'fp16-mixed';
  seed: number;
  /** 0: as many as the pool has. */
  threads: number;
  /** 'auto' (the default), 'cpu', 'cuda' or 'cuda:N'. */
  device?: string;
  /** Bytes that it may hold on its device; 0, the default, for no limit. */
  memoryLimit?: number;
  /** What each graph input may hold: rows are checked as they are copied, or ERR_ARGUMENT. */
  ranges?: readonly (IntegerRange | null)[];
}

export interface TrainerProgress {
  step: number;
  /** Factor on learning rates, below 1 after steps that were skipped. */
  backoff: number;
  /** Steps since then that were not. */
  goodSteps: number;
  /** Steps in a row that were skipped by the policy, up to now. */
  skips: number;
  /** Steps that were skipped in all, which the optimizer does not count. */
  skipped: number;
  /** In fp16-mixed: the factor on losses, a power of two, and the steps since it last changed. */
  lossScale: number;
  scaleSteps: number;
}

/**
 * Trains the parameters through a graph whose output 0 is the loss, one number; the other outputs are
 * metrics of any shape with so many elements a row, or as many whatever the batch.
 * One call at a time may be pending for train(), two may be queued; anything else gets ERR_BUSY.
 */
export class Trainer {
  constructor(parameters: Parameters, graph: GraphDescription, options: TrainerDescription);
  /**
   * Copies the rows of `inputs` (one array a graph input) at once, then runs one optimizer step for
   * each of `sizes` consecutive rows off the event loop. Resolves with, for each step, all elements of
   * the graph's outputs, the gradients' norm and the learning rate as used (0 for a step that was skipped): for fewer
   * steps than `sizes` when stop() came in between. With `weights` and `marks`, sizes are those of
   * micro-batches. A step begins with one that has the mark 1, and is taken after one that has the
   * mark 2 (3: both); norm and rate of the others are NaN. A weight is the micro-batch's share in the
   * mean of the gradients of the step so far; `scales` has as many factors for each as the loss has
   * terms, 1 each by default. `graph` is a number of addGraph(), or 0, the
   * default, for the trainer's own.
   */
  train(
    inputs: readonly TypedArray[],
    rows: Uint32Array,
    sizes: Uint32Array,
    learningRates: Float64Array,
    weights?: Float64Array,
    marks?: Uint32Array,
    scales?: Float64Array,
    graph?: number,
  ): Promise<Float64Array>;
  /**
   * The graph's outputs for each of `sizes` consecutive rows, in inference mode. `averages`: of what
   * copyAverages() copied in place of the parameters; false by default.
   */
  evaluate(
    inputs: readonly TypedArray[],
    rows: Uint32Array,
    sizes: Uint32Array,
    averages?: boolean,
    graph?: number,
  ): Promise<Float64Array>;
  /** The outputs that means divide by, and nothing else, for each of `sizes` consecutive rows. */
  divisors(
    inputs: readonly TypedArray[],
    rows: Uint32Array,
    sizes: Uint32Array,
    graph?: number,
  ): Promise<Float64Array>;
  /**
   * Adds a graph with the same parameters and as many inputs and outputs, such as the model at another
   * length: its number. `ranges` are of its inputs. Waits for the step that runs.
   */
  addGraph(graph: GraphDescription, ranges: readonly (IntegerRange | null)[]): number;
  /** Ends the pending calls at the next step boundary: of evaluate() only with `evaluations`. */
  stop(evaluations?: boolean): void;
  /** 'cpu' or 'cuda:N'. */
  readonly device: string;
  /** Brings the host's copy of the parameters up to date with the device's; upload() the reverse. */
  sync(): Promise<void>;
  upload(): Promise<void>;
  /** Optimizer steps taken, skipped ones among them. */
  readonly step: number;
  /** The steps taken, and what the policy of skipping knows. */
  readonly progress: TrainerProgress;
  /**
   * Of saveState(), in floats: `parameters` as their arena lies, then `slots` times `trainable` of
   * optimizer state and, with `averages`, these, each as the trainable part of the arena.
   */
  readonly savedLayout: {
    parameters: number;
    trainable: number;
    slots: number;
    averages: boolean;
  };
  /** All that a step changes, as it is between two steps. */
  saveState(): Promise<ArrayBuffer>;
  /** Copies a piece of what saveState() gave, from float `begin` on, behind the last; 0 begins anew. */
  stageState(piece: Float32Array, begin: number): void;
  /** Goes on from the state that stageState() has copied all of. */
  loadState(progress: TrainerProgress): Promise<void>;
  /** Copies the averages of the trainable parameters, and the others, for evaluate(). */
  copyAverages(): Promise<void>;
  profile(): ProfileDescription;
  close(): void;
}

/** Rows for one call of a Trainer, copied in slices: the event loop has its turns in between. */
export class StagedRows {
  /** Takes memory for so many rows in steps of `sizes`. */
  constructor(trainer: Trainer, rows: Uint32Array, sizes: Uint32Array, graph?: number);
  /** Goes on copying for so many bytes of `inputs`, one array a graph input; whether all is done. */
  copy(inputs: readonly TypedArray[], bytes: number): boolean;
  /** Trainer.train() on these rows; no step is taken when stop() came since they were made. */
  train(
    learningRates: Float64Array,
    weights?: Float64Array,
    marks?: Uint32Array,
    scales?: Float64Array,
  ): Promise<Float64Array>;
  /** The same for Trainer.evaluate() and Trainer.divisors(). */
  evaluate(averages?: boolean): Promise<Float64Array>;
  divisors(): Promise<Float64Array>;
  /** Gives the memory back, as train() and evaluate() do. */
  close(): void;
}

export interface PredictorDescription {
  /** Rows of the largest plan; longer calls are cut. */
  maxBatch: number;
  threads: number;
  /** Of products that are not quantized. */
  precision: 'float32' | 'bfloat16';
  /** As of TrainerDescription. */
  device?: string;
  memoryLimit?: number;
  /** Graphs with the same parameters, for bind() and variant(): they share the model's weights. */
  variants?: readonly GraphDescription[];
}

/**
 * The same for parameters in a file, each at its position: the file is mapped into memory,
 * not read. Predictors of one file that have `variant` and options in common are one, also those of
 * other worker threads; `variant` stands for the graphs. The descriptor may be closed once the promise
 * is settled. Not on Windows: ERR_ARGUMENT.
 */
export function loadPredictorFile(
  descriptor: number,
  positions: readonly number[],
  variant: string,
  graph: GraphDescription,
  options: PredictorDescription,
): Promise<Predictor>;

/**
 * Packs the parameters off the event loop, between two steps of a Trainer. They belong to
 * it until the promise is settled.
 */
export function loadPredictor(
  parameters: Parameters,
  graph: GraphDescription,
  options: PredictorDescription,
): Promise<Predictor>;

/** A frozen copy of the parameters behind a graph, for inference. */
export class Predictor {
  private constructor();
  /** Inputs and outputs at this many rows. */
  shapes(rows: number): { inputs: TensorSpec[]; outputs: TensorSpec[] };
  /** The op through which rows of a batch depend on each other; null: none. Such rows are run together. */
  readonly relatesRows: string | null;
  /** For predictSync() and predictHere(). */
  readonly key: Key<Predictor>;
  /**
   * The same off the event loop: inputs are copied at once, outputs are written on the event loop
   * just before the promise resolves. `cancel[0]` != 0 by then: they are left alone and the promise
   * rejects with ERR_ABORTED. Outputs that overlap those of a pending call: ERR_BUSY. Without outputs
   * it resolves with new ones: the array of the only output, or a list.
   */
  predict(
    rows: number,
    cancel: Int32Array | null,
    ...arrays: TypedArray[]
  ): Promise<Float32Array | Int32Array | (Float32Array | Int32Array)[] | undefined>;
  /**
   * `variant`: 0 for the graph, 1 for the first of its variants, ... Inputs of a variant without a
   * free batch are state: zeros that stay as kernels leave them, unlisted in `inputs`, and shared with
   * the Binding `like` of the same variant where that is given.
   */
  bind(rows: number, variant?: number, like?: Binding): Binding;
  /** One that runs another graph, with plans of its own, for as long as it is open. */
  variant(variant: number): Predictor;
  profile(): ProfileDescription;
  close(): void;
}

/** A plan with input and output buffers of its own. */
export class Binding {
  private constructor();
  readonly inputs: readonly (Float32Array | Int32Array)[];
  readonly outputs: readonly (Float32Array | Int32Array)[];
  /** For runSync(). */
  readonly key: Key<Binding>;
  run(): Promise<void>;
  close(): void;
}
