// What steps and their errors tell.
import { TandemError } from '../errors.js';
import type { Result } from './divisors.js';
import type { Part, Step } from './engine.js';
import type { TrainingGraph } from './graph.js';
import { Means } from './history.js';
import { Tally } from './tally.js';

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

/** What a step reports, over all of its micro-batches. */
export async function stepLogs(
  { results, tracked }: TrainingGraph,
  { parts, learningRate, gradNorm }: Step,
): Promise<Record<string, number>> {
  const tally = new Tally(tracked);
  for (const part of parts) tally.add(part);
  const { numbers } = await tally.results();
  return { ...meansOf(results, parts), ...numbers, learningRate, gradNorm };
}

/** The loss of a step, of all its batches. */
export function lossOf({ results }: TrainingGraph, { parts }: Step): number {
  const [loss] = results;
  return loss ? (meansOf([loss], parts)[loss.name] ?? Number.NaN) : Number.NaN;
}

function meansOf(results: readonly Result[], parts: readonly Part[]): Record<string, number> {
  const [first, ...others] = parts;
  if (first && others.length === 0) {
    const { values, offset, rows } = first;
    const shares = new Means(results.filter(({ terms }) => terms.some(({ counts }) => counts)));
    shares.add(values, offset, rows);
    const own = results.map(({ name }, i) => [name, values[offset + i] ?? Number.NaN] as const);
    return { ...Object.fromEntries(own), ...shares.logs() };
  }
  const means = new Means(results);
  for (const { values, offset, rows } of parts) means.add(values, offset, rows);
  return means.logs();
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
