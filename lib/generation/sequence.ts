import { TandemError } from '../errors.js';
import * as is from '../is.js';
import { checkSignal } from '../trainer/signal.js';
import { makeSampler, type Sampler, type SamplingOptions } from './sampling.js';
import { makeStopper, type StopOptions, type Stopper } from './stop.js';

/** How a sequence goes on, and when it ends. */
export interface GenerateOptions extends SamplingOptions, StopOptions {
  /** Tokens to generate at most; as many as `generation.length` leaves by default. */
  maxTokens?: number;
  /** Ends the generation with ERR_ABORTED, which frees its place for another. */
  signal?: AbortSignal;
}

/** One generation on its way. */
export class Sequence {
  readonly #tokens: Int32Array;
  readonly #prompt: number;
  readonly #sampler: Sampler;
  readonly #stopper: Stopper;
  readonly signal: AbortSignal | undefined;
  /** Its place in the cache; -1 while it waits for one. */
  slot = -1;
  /** Tokens whose keys and values are in the cache. */
  cached = 0;
  #count: number;
  #done = false;
  #error: unknown;
  #wake: (() => void) | undefined;

  /** `known`: the model takes tokens below it, and may have logits for more. Throws ERR_ARGUMENT. */
  constructor(
    prompt: Int32Array,
    options: GenerateOptions | undefined,
    length: number,
    readonly known = Number.POSITIVE_INFINITY,
  ) {
    const set = is.options(options, 'options of generate', [
      ...(['maxTokens', 'temperature', 'topK', 'topP', 'repetitionPenalty', 'seed'] as const),
      ...(['stop', 'stopTokens', 'decode', 'signal'] as const),
    ]);
    if (prompt.length === 0) {
      throw is.mismatch('ERR_ARGUMENT', 'one token or more', 'prompt', 'none');
    }
    const room = length - prompt.length;
    if (room < 1) {
      const what = `fewer than the ${length} tokens of \`generation.length\``;
      throw is.mismatch('ERR_ARGUMENT', what, 'prompt', String(prompt.length));
    }
    const maxTokens = is.integer(set.maxTokens ?? room, 'maxTokens', 1, room);
    this.signal = checkSignal(set.signal);
    this.#sampler = makeSampler(set);
    this.#stopper = makeStopper(set);
    this.#tokens = new Int32Array(prompt.length + maxTokens);
    this.#tokens.set(prompt);
    this.#prompt = this.#count = prompt.length;
  }

  /** Tokens that a step may compute: the rest of the prompt, or the last token. */
  get pending(): number {
    return this.#count - this.cached;
  }

  get done(): boolean {
    return this.#done;
  }

  /** Tokens that nobody has asked for yet. */
  get ahead(): number {
    return this.#stopper.ready;
  }

  /** Whether its prompt is not in the cache yet. */
  get isNew(): boolean {
    return this.cached < this.#prompt;
  }

  token(position: number): number {
    return this.#tokens[position] as number;
  }

  /** What follows the last token by these logits. */
  extend(logits: Float32Array): void {
    if (this.#done) return;
    try {
      const token = this.#sampler.next(logits, this.#tokens.subarray(0, this.#count));
      this.#tokens[this.#count++] = token;
      if (this.#stopper.push(token)) this.#done = true;
      else if (this.#count === this.#tokens.length) {
        this.#stopper.finish();
        this.#done = true;
      } else if (token >= this.known) {
        const what = `a token below ${this.known}, which is what the model takes,`;
        throw is.mismatch('ERR_NUMERIC', what, 'generate', `${token} by its logits`);
      }
    } catch (error) {
      this.fail(error);
    }
    this.#notify();
  }

  fail(error: unknown): void {
    if (this.#done) return;
    this.#error = error;
    this.#done = true;
    this.#notify();
  }

  /** Nobody asks for its tokens any more; whoever waits for one hears that there is none. */
  leave(): void {
    this.#done = true;
    this.#notify();
  }

  /** The next token; undefined after the last. `hungry` is called before it waits. */
  async next(hungry: () => void): Promise<number | undefined> {
    for (;;) {
      if (this.#error !== undefined) throw this.#error;
      const token = this.#stopper.shift();
      if (token !== undefined) {
        hungry();
        return token;
      }
      if (this.#done) return undefined;
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      hungry();
      await woken;
    }
  }

  #notify(): void {
    this.#wake?.();
    this.#wake = undefined;
  }
}

/** Tokens as native code reads them. Throws ERR_ARGUMENT, ERR_DTYPE. */
export function readPrompt(prompt: unknown): Int32Array {
  if (is.isOf(prompt, Int32Array)) return prompt;
  if (Array.isArray(prompt)) {
    return Int32Array.from(is.integers(prompt, 'prompt', 0), (token) => {
      if (token < 2 ** 31) return token;
      throw is.mismatch('ERR_ARGUMENT', 'tokens below 2^31', 'prompt', String(token));
    });
  }
  throw new TandemError(
    ArrayBuffer.isView(prompt) ? 'ERR_DTYPE' : 'ERR_ARGUMENT',
    `expected an Int32Array or an array of tokens for \`prompt\`, received ${is.show(prompt)}`,
  );
}
