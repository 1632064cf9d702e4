/**
 * A list of float32 numbers that grows by blocks: a long one is never copied in one turn, and what comes
 * in long pieces is not before settle().
 */
export class Floats {
  length = 0;
  readonly #blocks: Float32Array[] = [];
  /** How many the blocks have. */
  #stored = 0;
  /** What comes behind them. */
  readonly #waiting: Numbers[] = [];

  /** Of numbers that are settled: fills `into` with every `stride`-th number from `first` on. */
  read(into: Float32Array, first: number, stride: number): void {
    let at = first % blockLength;
    let next = (first - at) / blockLength;
    let block = this.#blocks[next];
    for (let i = 0; i < into.length; i++, at += stride) {
      if (at >= blockLength) {
        next += Math.floor(at / blockLength);
        at %= blockLength;
        block = this.#blocks[next];
      }
      into[i] = block?.[at] ?? Number.NaN;
    }
  }

  /** The numbers that are there now, in order, as views: those that are added later lie behind them. */
  get parts(): Float32Array[] {
    this.settle(this.length);
    return this.#blocks.map((block, i) => block.subarray(0, this.length - i * blockLength));
  }

  /** Nobody may write to them any more. */
  append(numbers: Numbers): void {
    this.length += numbers.length;
    if (numbers.length > mostAtOnce || this.#waiting.length > 0) this.#waiting.push(numbers);
    else this.#store(numbers);
  }

  /** Copies about so many of those that were not; whether that was all. */
  settle(count: number): boolean {
    for (let left = count; left > 0; ) {
      const next = this.#waiting.shift();
      if (next === undefined) break;
      this.#store(next.subarray(0, left));
      if (next.length > left) this.#waiting.unshift(next.subarray(left));
      left -= next.length;
    }
    return this.#waiting.length === 0;
  }

  #store(numbers: Numbers): void {
    for (let done = 0; done < numbers.length; ) {
      const place = this.#stored % blockLength;
      const part = numbers.subarray(done, done + blockLength - place);
      if (place === 0 && isBlock(part)) this.#blocks.push(part);
      else {
        if (place === 0) this.#blocks.push(new Float32Array(blockLength));
        this.#blocks.at(-1)?.set(part, place);
      }
      done += part.length;
      this.#stored += part.length;
    }
  }
}

type Numbers = Float32Array | Float64Array;

const blockLength = 2 ** 14;
const mostAtOnce = 2 ** 16;

/** A full one is never written to, so that those of a state need no copy. */
const isBlock = (numbers: Numbers): numbers is Float32Array =>
  numbers instanceof Float32Array && numbers.length === blockLength;
