/** Milliseconds before a deadline that a timer, which may be late by about one, is not trusted with. */
const margin = 2;

/**
 * Calls back at a time that may be a few microseconds away. Timers count in milliseconds, so that the
 * last two pass in turns of the event loop, which serve everybody else meanwhile.
 */
export class Deadline {
  readonly #call: () => void;
  #due: number | undefined;
  #timer: NodeJS.Timeout | undefined;
  #immediate: NodeJS.Immediate | undefined;

  constructor(call: () => void) {
    this.#call = call;
  }

  /** Replaces what was set before. The call comes in a later turn of the event loop. */
  set(due: number): void {
    if (this.#due === due) return;
    this.clear();
    this.#due = due;
    this.#arm(due);
  }

  clear(): void {
    if (this.#due === undefined) return;
    clearTimeout(this.#timer);
    clearImmediate(this.#immediate);
    this.#due = undefined;
  }

  #arm(due: number): void {
    const left = due - performance.now();
    if (left > margin) this.#timer = setTimeout(() => this.#arm(due), left - margin);
    else this.#immediate = setImmediate(() => this.#turn(due));
  }

  #turn(due: number): void {
    if (performance.now() < due) {
      this.#arm(due);
      return;
    }
    this.#due = undefined;
    this.#call();
  }
}
