// Metrics that are means over rows.
import { apply } from '../graph/apply.js';
import { l1 } from '../ops/losses.js';
import { concat } from '../ops/shapes.js';
import { expectsClasses, expectsNumbers, fitsClasses, fitsNumbers } from './fits.js';
import { type BuiltIn, builtIn } from './metric.js';
import { hasOneClass } from './predictions.js';

/**
 * The share of targets that are met: the largest logit is at the class number, or with bceWithLogits
 * the logit's sign says yes or no. Negative targets do not count.
 */
export function accuracy(): BuiltIn {
  return builtIn({
    name: 'accuracy',
    expects: expectsClasses,
    fits: fitsClasses,
    mean: (pair) => {
      const { output, target } = pair;
      // One logit would count as a yes or no.
      const logits = hasOneClass(pair) ? concat([output, output], { axis: -1 }) : output;
      return apply('accuracy', [logits, target]);
    },
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
