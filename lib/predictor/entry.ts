import type { PredictOutput } from './arrays.js';
import type { Share } from './batch.js';
import type { Copy } from './blocks.js';
import type { Linked } from './waiting.js';

type Arrays = readonly (Float32Array | Int32Array)[];

const ignore = (): void => undefined;

/**
 * A call as it stands in the queue. Entries serve one call after the other: the garbage collector moves
 * what is new, and ten thousand new ones of these, with what they refer to, would stop everything
 * for some milliseconds each time.
 */
export class Entry implements Linked<Entry>, Share {
  rows = 0;
  outputs: Arrays | undefined;
  priority = 0;
  due = 0;
  signal: AbortSignal | undefined;
  previous: Entry | undefined;
  next: Entry | undefined;
  older: Entry | undefined;
  newer: Entry | undefined;
  state: 'waiting' | 'running' | 'settled' = 'settled';
  /** Of the memory of `outputs`. */
  lease: object | undefined;
  abort: (() => void) | undefined;
  resolve: (outputs: PredictOutput) => void = ignore;
  reject: (error: unknown) => void = ignore;
  /** For a new promise: its functions are those of this entry from there on. */
  readonly keep = (resolve: (outputs: PredictOutput) => void, reject: (e: unknown) => void) => {
    this.resolve = resolve;
    this.reject = reject;
  };

  constructor(readonly copies: readonly Copy[]) {}

  /** Lets everything of the last call go. */
  clear(): void {
    this.outputs = this.signal = this.lease = this.abort = undefined;
    this.resolve = this.reject = ignore;
  }
}
