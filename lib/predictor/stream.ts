// Predictions of a stream: several at one time, results in order, no more read than is asked for.
import { Ending } from '../ending.js';
import * as is from '../is.js';
import { aborted, checkSignal } from '../trainer/signal.js';
import { offAbort, onAbort } from './aborts.js';
import type { PredictInput, PredictOutput } from './arrays.js';
import { endable } from './endable.js';
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

/** What still waits to begin when the stream is `left` never does. */
type Predict = (x: PredictInput, left: AbortSignal) => Promise<PredictOutput>;
type Pull = Promise<IteratorResult<PredictInput>>;

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
  predict: Predict,
  set: ReturnType<typeof checkStream>,
): AsyncGenerator<PredictOutput, void, undefined> {
  const left = new AbortController();
  return endable(results(source, predict, set, left), () => left.abort());
}

/** Ends without an error once `leaving` aborts, as nobody reads on, and aborts it at any end. */
async function* results(
  source: StreamSource,
  predict: Predict,
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
  let pull: Pull | undefined;
  let ended = false;
  try {
    while (!(ended && pending.length === 0)) {
      if (!ended && pull === undefined && pending.length < concurrency) {
        pull = next(iterator);
      }
      const [head] = pending;
      const first = await ending.unlessEnded(
        Promise.race([
          ...(pull === undefined ? [] : [pull.then((item) => ({ item }))]),
          // Also a failure is the head's turn: it is thrown where its result would have been.
          ...(head === undefined ? [] : [head.then(isReady, isReady)]),
        ]),
      );
      if (left.aborted) return;
      if (signal?.aborted) throw aborted(signal);
      if (first === undefined) continue;
      if ('item' in first) {
        pull = undefined;
        if (first.item.done) ended = true;
        else pending.push(handled(predict(first.item.value, left)));
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

const next = async (iterator: AsyncIterator<PredictInput> | Iterator<PredictInput>) =>
  await iterator.next();

/** A promise that nobody need wait for: one that fails is thrown when its turn comes, or not. */
function handled<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  return promise;
}
