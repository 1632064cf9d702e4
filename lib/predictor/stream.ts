// Predictions of a stream: several at one time, results in order, no more read than is asked for.

import { offAbort, onAbort } from '../aborts.js';
import { Ending } from '../ending.js';
import * as is from '../is.js';
import { aborted, checkSignal } from '../trainer/signal.js';
import type { PredictInput, PredictOutput } from './arrays.js';
import { endable } from './endable.js';
import type { Places } from './places.js';
import { checkPriority } from './queue.js';

/** Options of `predictor.stream`. */
export interface StreamOptions {
  /**
   * Predictions under way at one time; two runs of `batching`, or 2 without it, by default, and no
   * more than `maxQueue`.
   */
  concurrency?: number;
  /** Ends the stream with ERR_ABORTED, also while it waits for its source. */
  signal?: AbortSignal;
  /** As of predict. */
  priority?: number;
}

/** Where a stream comes from: what predict takes, one after the other. */
export type StreamSource = AsyncIterable<PredictInput> | Iterable<PredictInput>;

/** What a stream needs of a Predictor. */
interface Predicts {
  /** Has read its input when it returns. */
  readonly predict: (x: PredictInput) => Promise<PredictOutput>;
  readonly places: Pick<Places, 'inTurn'>;
}

/** An item's prediction that has begun, or that the source failed in the place of an item. */
interface Begun {
  readonly result: Promise<PredictOutput>;
  readonly last: boolean;
}

/** Checks what stream() was given. Throws ERR_ARGUMENT. */
export function checkStream(
  source: unknown,
  options: StreamOptions | undefined,
  usual: number,
): Required<Pick<StreamOptions, 'concurrency'>> & StreamOptions {
  const iterable =
    typeof source === 'object' &&
    source !== null &&
    (Symbol.asyncIterator in source || Symbol.iterator in source) &&
    !ArrayBuffer.isView(source);
  if (!iterable) throw is.invalid('an iterable or async iterable of inputs', 'source', source);
  const set = is.options(options, 'options of stream', ['concurrency', 'signal', 'priority']);
  checkSignal(set.signal);
  checkPriority(set.priority);
  return { ...set, concurrency: is.integer(set.concurrency ?? usual, 'concurrency', 1, 65536) };
}

/** See Predictor.stream. */
export function streamed(
  source: StreamSource,
  predicts: Predicts,
  set: ReturnType<typeof checkStream>,
): AsyncGenerator<PredictOutput, void, undefined> {
  const left = new AbortController();
  return endable(results(source, predicts, set, left), () => left.abort());
}

/** Ends without an error once `leaving` aborts, as nobody reads on, and aborts it at any end. */
async function* results(
  source: StreamSource,
  predicts: Predicts,
  { concurrency, signal }: ReturnType<typeof checkStream>,
  leaving: AbortController,
): AsyncGenerator<PredictOutput, void, undefined> {
  const iterator: AsyncIterator<PredictInput> | Iterator<PredictInput> =
    Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]();
  const left = leaving.signal;
  const pending: Promise<PredictOutput>[] = [];
  const ending = new Ending();
  const end = () => ending.end();
  const signals = signal === undefined ? [left] : [left, signal];
  for (const each of signals) onAbort(each, end);
  if (signals.some((each) => each.aborted)) end();
  let pull: Promise<Begun | undefined> | undefined;
  let ended = false;
  try {
    while (!(ended && pending.length === 0)) {
      if (!ended && pull === undefined && pending.length < concurrency) {
        pull = beginNext(iterator, predicts, left);
      }
      const [head] = pending;
      const first = await ending.unlessEnded(
        Promise.race([
          ...(pull === undefined ? [] : [pull.then((begun) => ({ begun }))]),
          // Also a failure is the head's turn: it is thrown where its result would have been.
          ...(head === undefined ? [] : [head.then(isReady, isReady)]),
        ]),
      );
      if (left.aborted) return;
      if (signal?.aborted) throw aborted(signal);
      if (first === undefined) continue;
      if ('begun' in first) {
        pull = undefined;
        ended = first.begun?.last ?? true;
        if (first.begun !== undefined) pending.push(first.begun.result);
      } else {
        pending.shift();
        yield await (head as Promise<PredictOutput>);
      }
    }
  } catch (error) {
    if (!left.aborted) throw error;
  } finally {
    for (const each of signals) offAbort(each, end);
    leaving.abort();
    pull?.catch(() => undefined);
    // Not awaited: a source that waits would hold up the end, as it would hold up an abort.
    if (!ended) void Promise.resolve(iterator.return?.()).catch(() => undefined);
  }
}

const isReady = () => ({ ready: true as const });

/**
 * The prediction of the next item, once it has a place; undefined at the end. Before that nothing more
 * is read: a source may fill one array again and again, and an item is copied when its prediction
 * begins. Nothing begins once the stream is `left`.
 */
async function beginNext(
  iterator: AsyncIterator<PredictInput> | Iterator<PredictInput>,
  { predict, places }: Predicts,
  left: AbortSignal,
): Promise<Begun | undefined> {
  let item: IteratorResult<PredictInput>;
  try {
    item = await iterator.next();
  } catch (error) {
    return { result: handled(Promise.reject(error)), last: true };
  }
  if (item.done) return undefined;
  let begun: Begun | undefined;
  await places.inTurn(left, () => {
    begun = { result: handled(predict(item.value)), last: false };
  });
  return begun;
}

/** A promise that nobody need wait for: one that fails is thrown when its turn comes, or not. */
function handled<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  return promise;
}
