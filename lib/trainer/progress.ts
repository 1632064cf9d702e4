// What fit tells the person at the terminal.
import type { Logs } from './callbacks.js';

/** Told of what happens; says it or not. */
export interface Progress {
  /** `steps`: those of an epoch, 0 for data of unknown length. */
  epochBegin(epoch: number, steps: number): void;
  step(steps: number, loss: number): void;
  epochEnd(epoch: number, logs: Logs): void;
  /** Always called, also after an error. */
  end(): void;
}

const silent: Progress = { epochBegin() {}, step() {}, epochEnd() {}, end() {} };

/**
 * `verbose` 0: nothing. 1: a bar on a terminal, else a line an epoch. 2: a line an epoch. `last` is
 * the number after the last epoch.
 */
export async function makeProgress(verbose: 0 | 1 | 2, last: number): Promise<Progress> {
  if (verbose === 0) return silent;
  if (verbose === 2 || process.stdout.isTTY !== true) return lines(last);
  const { default: progress } = await import('cli-progress');
  const { Formatter } = progress.Format;
  const bar = new progress.SingleBar({
    format: (options, params, payload) => {
      const format = params.total > 0 ? `{title} {bar} {value}/{total}${rest}` : unbounded;
      return Formatter({ ...options, format }, params, payload);
    },
    barsize: 24,
    clearOnComplete: true,
    hideCursor: true,
    stopOnComplete: false,
    stream: process.stdout,
  });
  const plain = lines(last);
  const pace = new Pace();
  let running = false;
  /** Steps of an epoch, 0 before the first of data of unknown length is over, and of this one so far. */
  let [known, taken] = [0, 0];
  let epochs = 0;
  const stop = () => {
    if (running) bar.stop();
    running = false;
  };
  return {
    epochBegin(epoch, steps) {
      plain.epochBegin(epoch, steps);
      if (steps > 0) known = steps;
      taken = 0;
      epochs = last - epoch;
      pace.resume();
      bar.start(known, 0, { title: title(epoch, last), loss: '-', rate: '-', left: '-' });
      running = true;
    },
    step(steps, loss) {
      taken += steps;
      // An epoch that was resumed in its middle had fewer.
      if (known > 0 && taken > known) {
        known = taken;
        bar.setTotal(known);
      }
      const rate = pace.add(steps);
      const left = known > 0 && rate > 0 ? duration((known * epochs - taken) / rate) : '-';
      bar.increment(steps, { loss: show(loss), rate: show(rate), left });
    },
    epochEnd(epoch, logs) {
      pace.pause();
      known = Math.max(known, taken);
      stop();
      plain.epochEnd(epoch, logs);
    },
    end: stop,
  };
}

function lines(last: number): Progress {
  const fit = performance.now();
  let first: number | undefined;
  let began = 0;
  let taken = 0;
  return {
    ...silent,
    epochBegin(epoch) {
      first ??= epoch;
      began = performance.now();
      taken = 0;
    },
    step(steps) {
      taken += steps;
    },
    epochEnd(epoch, logs) {
      const now = performance.now();
      const seconds = (now - began) / 1000;
      const numbers = Object.entries(logs).map(([name, value]) => `${name} ${show(value)}`);
      const parts = [title(epoch, last), `${seconds.toFixed(1)} s`, ...numbers];
      if (taken > 0) parts.push(`${show(taken / seconds)} steps/s`);
      // Whole epochs, with their validation and callbacks.
      const each = (now - fit) / 1000 / (epoch + 1 - (first ?? epoch));
      if (epoch + 1 < last) parts.push(`${duration(each * (last - epoch - 1))} left`);
      process.stdout.write(`${parts.join('  ')}\n`);
    },
  };
}

/** Steps a second: of about the last ten seconds, as a machine's load changes. */
class Pace {
  #rate = 0;
  #last = 0;
  #seconds = 0;

  /** Time between epochs is not that of steps. */
  resume(): void {
    this.#last = performance.now();
  }

  pause(): void {
    this.#last = 0;
  }

  add(steps: number): number {
    const now = performance.now();
    const seconds = Math.max(1e-6, (now - this.#last) / 1000);
    this.#last = now;
    this.#seconds += seconds;
    // The mean at first, then one that forgets.
    const share = Math.min(1, seconds / Math.min(this.#seconds, memory));
    this.#rate += share * (steps / seconds - this.#rate);
    return this.#rate;
  }
}

/** Seconds. */
const memory = 10;

const rest = '  loss {loss}  {rate} steps/s  {left} left';
/** Where nobody knows how many steps there are. */
const unbounded = '{title}  {value} steps  loss {loss}  {rate} steps/s';

const title = (epoch: number, last: number): string =>
  `epoch ${String(epoch + 1).padStart(String(last).length)}/${last}`;

const show = (value: number): string => String(Number(value.toPrecision(4)));

/** Seconds as "12 s", "3:05" or "1:02:00". */
export function duration(seconds: number): string {
  const whole = Math.ceil(seconds);
  if (whole < 60) return `${whole} s`;
  const two = (n: number) => String(n).padStart(2, '0');
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  const rest = two(whole % 60);
  return hours > 0 ? `${hours}:${two(minutes)}:${rest}` : `${minutes}:${rest}`;
}
