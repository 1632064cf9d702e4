// What steps and their errors tell.
import { TandemError } from '../errors.js';
import type { Result } from './divisors.js';
import type { Step } from './engine.js';
import { Tally, type Tracked } from './tally.js';

/** The smallest of `rows` from `begin` to before `end`, if there is one. */
export function smallest(
  rows: Iterable<number>,
  begin = 0,
  end = Number.POSITIVE_INFINITY,
): number | undefined {
  let found: number | undefined;
  for (const row of rows) {
    if (row >= begin && row < end && !(found !== undefined && found < row)) found = row;
  }
  return found;
}

/** The error for a row with a NaN; `step` is the one that would meet it. */
export function badRow(
  bad: ReadonlyMap<number, string>,
  row: number,
  where = '',
  step?: number,
): TandemError {
  const which = step === undefined ? '' : `, which step ${step} would meet`;
  const received = `a NaN or an infinity in row ${row}${which}`;
  const name = `${where}${bad.get(row)}`;
  const message = `expected finite numbers for \`${name}\`, received ${received}`;
  return new TandemError('ERR_NUMERIC', message, step === undefined ? {} : { step });
}

/** What a step reports; metrics are those of its rows. */
export async function stepLogs(
  results: readonly Result[],
  tracked: readonly Tracked[],
  step: Step,
): Promise<Record<string, number>> {
  const logs: Record<string, number> = {};
  results.forEach(({ name }, i) => {
    logs[name] = step.values[step.offset + i] ?? Number.NaN;
  });
  if (tracked.length > 0) {
    const tally = new Tally(tracked);
    tally.add(step.values, step.offset, step.rows);
    Object.assign(logs, (await tally.results()).numbers);
  }
  logs.learningRate = step.learningRate;
  logs.gradNorm = step.values[step.end - 1] ?? Number.NaN;
  return logs;
}

/** Native code counts steps from 1 in its messages, callbacks count from 0. */
export function countFromZero(error: unknown): unknown {
  if (!(error instanceof TandemError) || error.code !== 'ERR_NUMERIC' || error.step !== undefined) {
    return error;
  }
  const [found, digits] = /\bat step (\d+)/.exec(error.message) ?? [];
  if (found === undefined) return error;
  const step = Number(digits) - 1;
  const message = error.message.replace(found, `at step ${step}`);
  return new TandemError(error.code, message, { cause: error, step });
}
