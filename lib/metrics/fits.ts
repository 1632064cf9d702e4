// Which outputs have which metrics.
import type { Pair } from './metric.js';

/** Targets that are class numbers, or yes and no. */
export const classes = ({ target, loss }: Pair): boolean =>
  target.dtype === 'int32' || loss === 'bceWithLogits';

/** Of outputs with class numbers or bceWithLogits. Nobody knows what a function of a user wants. */
export const fitsClasses = (pair: Pair): boolean | undefined =>
  classes(pair) || (pair.loss === undefined ? undefined : false);

/** Of outputs with numbers to come close to. */
export const fitsNumbers = (pair: Pair): boolean | undefined =>
  classes(pair) ? false : pair.loss === undefined ? undefined : true;

export const expectsClasses = 'a metric for an output with class numbers or bceWithLogits';
export const expectsNumbers = 'a metric for an output with numbers to come close to';
