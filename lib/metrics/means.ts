// Metrics that are means over rows.
import { apply } from '../graph/apply.js';
import { l1 } from '../ops/losses.js';
import { expectsClasses, expectsNumbers, fitsClasses, fitsNumbers } from './fits.js';
import { type BuiltIn, builtIn } from './metric.js';

/**
 * The share of targets that are met: the largest logit is at the class number, or with bceWithLogits
 * the logit's sign says yes or no. Negative targets do not count.
 */
export function accuracy(): BuiltIn {
  return builtIn({
    name: 'accuracy',
    expects: expectsClasses,
    fits: fitsClasses,
    mean: ({ output, target }) => apply('accuracy', [output, target]),
  });
}

/** The mean absolute error over all elements. */
export function mae(): BuiltIn {
  return builtIn({
    name: 'mae',
    expects: expectsNumbers,
    fits: fitsNumbers,
    mean: ({ output, target }) => l1(output, target),
  });
}
