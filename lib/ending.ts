// Waiting that may be ended from outside.

/**
 * Ends what is waited for. Promise.race() with a promise that lives on would keep every result of the
 * races until that one settles.
 */
export class Ending {
  #ended = false;
  readonly #waiting = new Set<() => void>();

  /** Whoever waits, now or later, no longer does. */
  end(): void {
    this.#ended = true;
    for (const leave of this.#waiting) leave();
    this.#waiting.clear();
  }

  /** As the promise settles, or with undefined once ended, whichever comes first. */
  unlessEnded<T>(promise: T | PromiseLike<T>): Promise<T | undefined> {
    return new Promise((resolve, reject) => {
      const leave = () => resolve(undefined);
      this.#waiting.add(leave);
      Promise.resolve(promise).then(
        (value) => {
          this.#waiting.delete(leave);
          resolve(value);
        },
        (error) => {
          this.#waiting.delete(leave);
          reject(error);
        },
      );
      // Behind what the promise itself may have settled with.
      if (this.#ended) queueMicrotask(leave);
    });
  }
}
