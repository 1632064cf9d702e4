import { TandemError } from '../errors.js';
import * as is from '../is.js';

/** What ends a generation before its last token. */
export interface StopOptions {
  /** Strings that end it: tokens from the first one on are left out. Needs `decode`. */
  stop?: string | readonly string[];
  /** Tokens that end it and are left out. */
  stopTokens?: readonly number[];
  /** The text of tokens, for `stop`. */
  decode?: (tokens: readonly number[]) => string;
}

/** Of one generation: which tokens may go out. */
export interface Stopper {
  /** Takes the next token; whether it was the last. */
  push(token: number): boolean;
  /** Takes the next token that goes out; undefined while there is none. */
  shift(): number | undefined;
  /** How many could. */
  readonly ready: number;
  /** There are no more: what was held back goes out. */
  finish(): void;
}

/** Throws ERR_ARGUMENT. */
export function makeStopper(options: StopOptions): Stopper {
  const { stop = [], stopTokens = [], decode } = options;
  const listed: unknown = typeof stop === 'string' ? [stop] : stop;
  if (!Array.isArray(listed)) throw is.invalid('a string or an array of them', 'stop', stop);
  const strings = listed.map((text, i) => is.string(text, `stop[${i}]`));
  const ends = new Set(is.integers(stopTokens, 'stopTokens', 0));
  if (decode !== undefined && typeof decode !== 'function') {
    throw is.invalid('a function', 'decode', decode);
  }
  if (strings.length > 0 && decode === undefined) {
    throw new TandemError('ERR_ARGUMENT', 'expected `decode` beside `stop`, received none');
  }
  return new Tokens(strings, ends, decode);
}

class Tokens implements Stopper {
  readonly #strings: readonly string[];
  readonly #ends: ReadonlySet<number>;
  readonly #decode: (tokens: readonly number[]) => string;
  readonly #tokens: number[] = [];
  /** Tokens [out, safe) may go out. */
  #out = 0;
  #safe = 0;
  #stopped = false;

  constructor(
    strings: readonly string[],
    ends: ReadonlySet<number>,
    decode: ((tokens: readonly number[]) => string) | undefined,
  ) {
    this.#strings = strings;
    this.#ends = ends;
    this.#decode = decode ?? (() => '');
  }

  get ready(): number {
    return this.#safe - this.#out;
  }

  shift(): number | undefined {
    return this.#out < this.#safe ? this.#tokens[this.#out++] : undefined;
  }

  push(token: number): boolean {
    if (this.#ends.has(token)) {
      this.#safe = this.#tokens.length;
      this.#stopped = true;
      return true;
    }
    this.#tokens.push(token);
    if (this.#strings.length === 0) {
      this.#safe = this.#tokens.length;
      return false;
    }
    const text = this.#text(this.#tokens.length);
    const found = this.#strings.map((stop) => text.indexOf(stop)).filter((at) => at >= 0);
    this.#stopped = found.length > 0;
    this.#release(this.#stopped ? Math.min(...found) : text.length - this.#held(text));
    return this.#stopped;
  }

  finish(): void {
    if (!this.#stopped) this.#safe = this.#tokens.length;
  }

  #text(count: number): string {
    const text: unknown = this.#decode(this.#tokens.slice(0, count));
    if (typeof text === 'string') return text;
    throw is.invalid('a function that returns a string', 'decode', text);
  }

  /** Characters at the end that may be the beginning of a stop string. */
  #held(text: string): number {
    let most = 0;
    for (const stop of this.#strings) {
      for (let n = Math.min(stop.length - 1, text.length); n > most; n--) {
        if (text.endsWith(stop.slice(0, n))) most = n;
      }
    }
    return most;
  }

  /** Lets tokens go whose text ends within the first `characters`. */
  #release(characters: number): void {
    while (this.#safe < this.#tokens.length && this.#text(this.#safe + 1).length <= characters) {
      this.#safe++;
    }
  }
}
