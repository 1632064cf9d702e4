import type { PredictOutput } from './arrays.js';
import type { Share } from './batch.js';
import type { Copy } from './blocks.js';
import type { Linked } from './waiting.js';

type Arrays = readonly (Float32Array | Int32Array)[];

type Resolve = (outputs: PredictOutput | Promise<never>) => void;

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
  resolve: Resolve = ignore;
  /** For a new promise: its function is that of this entry from there on. */
  readonly keep = (resolve: Resolve): void => {
    this.resolve = resolve;
  };

  constructor(readonly copies: readonly Copy[]) {}

  /** By a promise that is: the call's own function for it would be one more to move. */
  reject(error: unknown): void {
    this.resolve(Promise.reject(error));
  }

  /** Lets everything of the last call go. */
  clear(): void {
    this.outputs = this.signal = this.lease = this.abort = undefined;
    this.resolve = ignore;
  }
}
