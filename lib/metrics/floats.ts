/** A list of float32 numbers that grows by blocks: a long one is never copied in one turn. */
export class Floats {
  length = 0;
  readonly #blocks: Float32Array[] = [];

  /** Fills `into` with every `stride`-th number from `first` on. */
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
    return this.#blocks.map((block, i) => block.subarray(0, this.length - i * blockLength));
  }

  append(numbers: Float32Array | Float64Array): void {
    for (let done = 0; done < numbers.length; ) {
      const place = this.length % blockLength;
      if (place === 0) this.#blocks.push(new Float32Array(blockLength));
      const part = numbers.subarray(done, done + blockLength - place);
      this.#blocks.at(-1)?.set(part, place);
      done += part.length;
      this.length += part.length;
    }
  }
}

const blockLength = 2 ** 14;
