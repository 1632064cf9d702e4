// Who trains how long: the rungs of a search.

/** The trials that one rung keeps, and how many epochs each of them trains. */
export interface Rung {
  readonly trials: number;
  readonly epochs: number;
}

/** All trials at once, each for all epochs. */
export const randomRungs = (trials: number, epochs: number): Rung[] => [{ trials, epochs }];

/**
 * Successive halving: all trials train for a few epochs, the best one in `factor` of them again for
 * `factor` times as many, and so on, until the rung that trains for `epochs`. Jamieson and Talwalkar,
 * "Non-stochastic Best Arm Identification and Hyperparameter Optimization" (2016). No rung has fewer
 * epochs than `minEpochs`, or fewer trials than one.
 */
export function halvingRungs(
  trials: number,
  epochs: number,
  factor: number,
  minEpochs: number,
): Rung[] {
  const rungs: Rung[] = [];
  for (let kept = trials, part = 0; ; part++) {
    rungs.push({ trials: kept, epochs: part });
    const fewer = Math.floor(kept / factor);
    const shortest = Math.floor(epochs / factor ** (part + 1));
    if (fewer < 1 || shortest < minEpochs) break;
    kept = fewer;
  }
  return rungs.map((rung, i) => ({
    trials: rung.trials,
    epochs: Math.floor(epochs / factor ** (rungs.length - 1 - i)),
  }));
}
