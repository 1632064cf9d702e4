// A Trainer's native part and its graph, from options.
import type { IntegerRange } from '../../bindings.js';
import type { Value } from '../graph/value.js';
import type { ModelState } from '../model/state.js';
import type { Parameter } from '../model.js';
import { native } from '../native.js';
import { claim } from '../schedulers.js';
import type { Feed } from './data.js';
import { Engine } from './engine.js';
import { makeTrainingGraph, type TrainingGraph } from './graph.js';
import type { Targets } from './losses.js';
import { Mixer } from './mixup.js';
import { describeLoss, readOptions, type TrainerOptions } from './options.js';
import type { RunState } from './run.js';

/** Throws ERR_ARGUMENT, ERR_SHAPE, ERR_DTYPE, ERR_DEVICE, ERR_OUT_OF_MEMORY. */
export function makeEngine<T extends Targets = Value>(
  state: ModelState,
  parameters: ReadonlyMap<string, Parameter>,
  options: TrainerOptions<T>,
  run: RunState,
): { engine: Engine; graph: TrainingGraph } {
  const { set, settings } = readOptions(options, parameters, state.inputs);
  const { loss, lossWeights, metrics } = set;
  let engine: Engine | undefined;
  const making = {
    ...{ loss, lossWeights, metrics },
    mixes: settings.mixup !== undefined,
    accumulates: settings.microBatches > 1,
  };
  const graph: TrainingGraph = makeTrainingGraph(
    state,
    making,
    ({ description, feeds, places, width }) => {
      const all = [...feeds.x, ...feeds.y];
      const number = engine?.addGraph({ description, ranges: rangesOf(all), width }) ?? 0;
      graph.tracked.forEach(({ parts }, i) => {
        parts[number] = places[i] ?? [];
      });
      return number;
    },
  );
  const { description, feeds, mixed, results, scales, width } = graph;
  const terms = results[0]?.terms ?? [];
  const all = [...feeds.x, ...feeds.y, ...mixed.feeds];
  const rowBytes = all.reduce((sum, { elements }) => sum + 4 * elements, 0);
  const trainer = new native.Trainer(state.native, description, {
    ...settings.native,
    divisors: terms.flatMap(({ divisor }) => divisor ?? []),
    scales,
    ranges: rangesOf(all),
  });
  try {
    // Not before: a trainer that there is no memory for has taken none.
    claim(settings.schedule);
  } catch (error) {
    trainer.close();
    throw error;
  }
  engine = new Engine(
    trainer,
    state,
    { ...settings, loss: describeLoss(loss) },
    [width],
    terms,
    scales > 0,
    Math.max(4, rowBytes),
    settings.mixup === undefined
      ? undefined
      : new Mixer(settings.mixup, settings.native.seed, feeds.x, feeds.y, mixed.classes),
    () => run.resting(),
  );
  return { engine, graph };
}

/** Of what each may hold. */
const rangesOf = (feeds: readonly Feed[]): (IntegerRange | null)[] =>
  feeds.map(({ range }) =>
    range ? { low: 0, high: range.count - 1, ignored: range.ignored } : null,
  );
