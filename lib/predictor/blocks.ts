// Copies of the rows of waiting calls, side by side in blocks that are used again: an array for each
// of ten thousand small calls would keep the garbage collector busy, which moves all that waits.
import type { Layout } from './arrays.js';

type Floats = Float32Array | Int32Array;

/** Elements of a block; longer arrays have memory of their own. */
const blockLength = 65536;
/** Blocks that are kept for later. */
const maxSpare = 64;

/** Memory that copies share. */
export interface Block {
  readonly memory: Floats;
  used: number;
  copies: number;
}

/** Where a copy lies; one object serves one call after the other. */
export interface Copy {
  memory: Floats;
  start: number;
  length: number;
  /** Undefined for one that has memory of its own. */
  block: Block | undefined;
}

const nothing = new Float32Array(0);

/** A copy of nothing. */
export const emptyCopy = (): Copy => ({ memory: nothing, start: 0, length: 0, block: undefined });

/** The elements of a copy, for as long as it is not released. */
export const elementsOf = ({ memory, start, length }: Copy): Floats =>
  memory.length === length ? memory : memory.subarray(start, start + length);

/** Copies for one input of a model. */
export class Blocks {
  readonly #make: () => Floats;
  readonly #spare: Block[] = [];
  #current: Block | undefined;

  constructor({ dtype }: Layout['inputs'][number]) {
    this.#make = () =>
      dtype === 'float32' ? new Float32Array(blockLength) : new Int32Array(blockLength);
  }

  /** Copies an array; `to` needs its release before it is used again. */
  copy(array: Floats, to: Copy): void {
    const { length } = array;
    if (length > blockLength / 8) {
      to.memory = array.slice();
      to.length = length;
      return;
    }
    let block = this.#current;
    if (block === undefined || block.used + length > blockLength) {
      block = this.#spare.pop() ?? { memory: this.#make(), used: 0, copies: 0 };
      this.#retire();
      this.#current = block;
    }
    const { memory, used } = block;
    memory.set(array, used);
    block.used += length;
    block.copies++;
    to.memory = memory;
    to.start = used;
    to.length = length;
    to.block = block;
  }

  /** Nobody reads the copy any more, which is one of nothing from here on. */
  release(copy: Copy): void {
    const { block } = copy;
    copy.memory = nothing;
    copy.start = copy.length = 0;
    copy.block = undefined;
    if (block === undefined || --block.copies > 0) return;
    if (block === this.#current) block.used = 0;
    else this.#keep(block);
  }

  #retire(): void {
    const block = this.#current;
    // With copies left, the last of them brings it back.
    if (block !== undefined && block.copies === 0) this.#keep(block);
  }

  #keep(block: Block): void {
    block.used = 0;
    if (this.#spare.length < maxSpare) this.#spare.push(block);
  }
}
