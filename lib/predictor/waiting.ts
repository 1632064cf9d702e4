// Calls that wait for a place in a run: by priority, and of one priority in the order of the calls.
// Linked both ways, so that one that is aborted leaves at once, wherever it stands. Every call may
// have a priority of its own: nothing here looks at all of them.

/** What links an item to its neighbours; of no interest to anybody else. */
export interface Linked<T> {
  readonly priority: number;
  /** When it is to be served at the latest; never before that of one that came earlier. */
  readonly due: number;
  previous: T | undefined;
  next: T | undefined;
  /** Neighbours in the order of the calls, whatever their priority. */
  older: T | undefined;
  newer: T | undefined;
}

interface Level<T> {
  readonly priority: number;
  first: T | undefined;
  last: T | undefined;
}

/** Highest priority first, first come first served. */
export class WaitingList<T extends Linked<T>> {
  /** By priority, lowest first, so that the highest come and go at the end; none is empty. */
  readonly #levels: Level<T>[] = [];
  #oldest: T | undefined;
  #newest: T | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Who is next. */
  get first(): T | undefined {
    return this.#levels.at(-1)?.first;
  }

  /** When somebody has waited long enough; undefined when nobody waits. */
  get due(): number | undefined {
    return this.#oldest?.due;
  }

  push(item: T): void {
    const level = this.#level(item.priority);
    item.older = this.#newest;
    item.newer = undefined;
    if (this.#newest === undefined) this.#oldest = item;
    else this.#newest.newer = item;
    this.#newest = item;
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
    if (item.older === undefined) this.#oldest = item.newer;
    else item.older.newer = item.newer;
    if (item.newer === undefined) this.#newest = item.older;
    else item.newer.older = item.older;
    item.previous = item.next = item.older = item.newer = undefined;
    this.#size--;
    if (level.first === undefined) this.#levels.splice(this.#find(item.priority), 1);
  }

  #level(priority: number): Level<T> {
    const at = this.#find(priority);
    const found = this.#levels[at];
    if (found?.priority === priority) return found;
    const level: Level<T> = { priority, first: undefined, last: undefined };
    this.#levels.splice(at, 0, level);
    return level;
  }

  /** Where a level of the priority is, or would be. */
  #find(priority: number): number {
    let [low, high] = [0, this.#levels.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#levels[middle] as Level<T>).priority < priority) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
