/** The places of `maxQueue`, which queues may share. */
export class Places {
  readonly #most: number;
  #taken = 0;
  /** Who waits for one, in order. */
  readonly #hopeful = new Set<() => void>();

  constructor(most: number) {
    this.#most = most;
  }

  get taken(): number {
    return this.#taken;
  }

  get full(): boolean {
    return this.#taken >= this.#most;
  }

  take(): void {
    this.#taken++;
  }

  free(): void {
    this.#taken--;
    this.invite();
  }

  /** Resolves once there is a place; the caller has to look again. */
  room(): Promise<void> {
    if (!this.full) return Promise.resolve();
    return new Promise((resolve) => {
      this.#hopeful.add(resolve);
    });
  }

  /** Wakes the first of those who wait, if there is a place. */
  invite(): void {
    if (this.#hopeful.size === 0 || this.full) return;
    const [hopeful] = this.#hopeful;
    if (hopeful === undefined) return;
    this.#hopeful.delete(hopeful);
    hopeful();
  }
}
