// Metrics that are means over rows.
import { apply } from '../graph/apply.js';
import { constant } from '../graph/leaves.js';
import type { Value } from '../graph/value.js';
import * as is from '../is.js';
import { abs, sub } from '../ops/elementwise.js';
import { where } from '../ops/indexing.js';
import { l1 } from '../ops/losses.js';
import { concat, reshape } from '../ops/shapes.js';
import { expectsClasses, expectsNumbers, fitsClasses, fitsNumbers } from './fits.js';
import { type BuiltIn, builtIn, type Pair } from './metric.js';
import { hasOneClass, lastAxis } from './predictions.js';

/**
 * The share of targets that are met: the largest logit is at the class number, or with bceWithLogits
 * the logit's sign says yes or no, of several columns each for itself. Where there is NaN nothing is
 * met; targets between 0 and 1, as mixup makes, are a yes above 0.5. Negative targets do not count.
 * With a function as the loss, several columns of float32 are labels too, whatever it takes them for.
 */
export function accuracy(): BuiltIn;
export function accuracy(...more: unknown[]): BuiltIn {
  is.lastArgument(more, 'accuracy');
  return builtIn({
    name: 'accuracy',
    largerIsBetter: true,
    expects: expectsClasses,
    fits: fitsClasses,
    mean: (pair) => apply('accuracy', decided(pair)),
  });
}

/** Logits and targets as the op reads them: one logit is a yes or no, several are classes. */
function decided(pair: Pair): [Value, Value] {
  const { output, target } = pair;
  if (hasOneClass(pair)) return [concat([output, output], { axis: -1 }), target];
  if (target.dtype !== 'float32') return [output, target];
  const wanted = whole(target);
  return lastAxis(output) > 1
    ? [reshape(output, [-1, 1]), reshape(wanted, [-1, 1])]
    : [output, wanted];
}

/** Shares of a yes as 0 or 1, as the counts of other metrics read them; other numbers stay. */
function whole(target: Value): Value {
  const half = constant(Float32Array.of(0.5), []);
  // 1 above a half, and 0.5 there.
  const above = apply('greater', [target, half]);
  const yes = apply('equal', [above, constant(Float32Array.of(1), [])]);
  // Nor is NaN between 0 and 1: it stays, and is not met.
  return where(apply('greater', [half, abs(sub(target, half))]), yes, target);
}

/** The mean absolute error over all elements. */
export function mae(): BuiltIn;
export function mae(...more: unknown[]): BuiltIn {
  is.lastArgument(more, 'mae');
  return builtIn({
    name: 'mae',
    largerIsBetter: false,
    expects: expectsNumbers,
    fits: fitsNumbers,
    mean: ({ output, target }) => l1(output, target),
  });
}
