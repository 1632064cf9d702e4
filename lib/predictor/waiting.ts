// Calls that wait for a place in a run: by priority, and of one priority in the order of the calls.
// Linked both ways, so that one that is aborted leaves at once, wherever it stands.

/** What links an item to its neighbours; of no interest to anybody else. */
export interface Linked<T> {
  readonly priority: number;
  /** When it is to be served at the latest; never before that of one that came earlier. */
  readonly due: number;
  previous: T | undefined;
  next: T | undefined;
}

interface Level<T> {
  readonly priority: number;
  first: T | undefined;
  last: T | undefined;
}

/** Highest priority first, first come first served. */
export class WaitingList<T extends Linked<T>> {
  /** By priority, highest first; those without items are left out. */
  readonly #levels: Level<T>[] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Who is next. */
  get first(): T | undefined {
    return this.#levels[0]?.first;
  }

  /** When somebody has waited long enough; undefined when nobody waits. */
  get due(): number | undefined {
    let due: number | undefined;
    for (const { first } of this.#levels) {
      if (first !== undefined && !(due !== undefined && due <= first.due)) due = first.due;
    }
    return due;
  }

  push(item: T): void {
    const level = this.#level(item.priority);
    item.previous = level.last;
    item.next = undefined;
    if (level.last === undefined) level.first = item;
    else level.last.next = item;
    level.last = item;
    this.#size++;
  }

  /** Takes out an item of this list. */
  remove(item: T): void {
    const level = this.#level(item.priority);
    if (item.previous === undefined) level.first = item.next;
    else item.previous.next = item.next;
    if (item.next === undefined) level.last = item.previous;
    else item.next.previous = item.previous;
    item.previous = undefined;
    item.next = undefined;
    this.#size--;
    if (level.first === undefined) this.#levels.splice(this.#levels.indexOf(level), 1);
  }

  #level(priority: number): Level<T> {
    // One or a few levels: a search from the front finds the usual one at once.
    const at = this.#levels.findIndex((level) => level.priority <= priority);
    const found = this.#levels[at];
    if (found?.priority === priority) return found;
    const level: Level<T> = { priority, first: undefined, last: undefined };
    this.#levels.splice(at === -1 ? this.#levels.length : at, 0, level);
    return level;
  }
}
