import type { Logs } from './callbacks.js';

/** What fit tells the person at the terminal. */
export interface Progress {
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
  const bar = new progress.SingleBar({
    format: '{title} {bar} {value}/{total} steps  loss {loss}',
    barsize: 30,
    clearOnComplete: true,
    hideCursor: true,
    stopOnComplete: false,
    stream: process.stdout,
  });
  const plain = lines(last);
  let running = false;
  const stop = () => {
    if (running) bar.stop();
    running = false;
  };
  return {
    epochBegin(epoch, steps) {
      plain.epochBegin(epoch, steps);
      bar.start(steps, 0, { title: title(epoch, last), loss: '-' });
      running = true;
    },
    step: (steps, loss) => bar.increment(steps, { loss: show(loss) }),
    epochEnd(epoch, logs) {
      stop();
      plain.epochEnd(epoch, logs);
    },
    end: stop,
  };
}

function lines(last: number): Progress {
  let began = 0;
  return {
    ...silent,
    epochBegin() {
      began = performance.now();
    },
    epochEnd(epoch, logs) {
      const numbers = Object.entries(logs).map(([name, value]) => `${name} ${show(value)}`);
      const seconds = ((performance.now() - began) / 1000).toFixed(1);
      process.stdout.write(`${[title(epoch, last), `${seconds} s`, ...numbers].join('  ')}\n`);
    },
  };
}

const title = (epoch: number, last: number): string =>
  `epoch ${String(epoch + 1).padStart(String(last).length)}/${last}`;

const show = (value: number): string => String(Number(value.toPrecision(4)));
