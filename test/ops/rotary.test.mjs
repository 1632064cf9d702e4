// Rotary positions against their formula, and gradients against differences.
import test from 'ava';
import { rotary } from 'tandem-ml';
import { evaluate } from 'tandem-ml/autodiff';
import { check, numbers } from '../helpers/differences.mjs';
import { fixed, relativeError } from '../helpers/numbers.mjs';

/** x [rows, time, depth], row by row in doubles. */
function turned({ shape: [rows, time, depth], data }, base) {
  const y = new Float64Array(data.length);
  const half = depth / 2;
  for (let row = 0; row < rows * time; row++) {
    for (let i = 0; i < half; i++) {
      const angle = (row % time) * base ** ((-2 * i) / depth);
      const [a, b] = [data[row * depth + i], data[row * depth + half + i]];
      y[row * depth + i] = a * Math.cos(angle) - b * Math.sin(angle);
      y[row * depth + half + i] = a * Math.sin(angle) + b * Math.cos(angle);
    }
  }
  return y;
}

test('pairs turn by position times frequency', (t) => {
  for (const [shape, base] of [
    [[1, 1, 2], 10000],
    [[3, 17, 6], 10000],
    [[2, 9, 64], 500],
    [[1, 20000, 34], 10000],
  ]) {
    const x = numbers(shape, 51);
    const value = fixed(shape);
    const options = base === 10000 ? [] : [{ base }];
    const [y] = evaluate(rotary(value, ...options), new Map([[value, x.data]]));
    const error = relativeError(y, turned(x, base));
    t.true(error < 2e-7, `${shape}: relative error ${error}`);
  }
});

test('gradients', (t) => {
  for (const shape of [
    [7, 2],
    [2, 5, 6],
    [2, 3, 11, 34],
  ]) {
    check(t, { graph: ({ x }) => rotary(x), floats: { x: numbers(shape, 52) } });
  }
});

test('what it refuses', (t) => {
  const refuses = (body, code, message) => {
    const error = t.throws(body);
    t.is(error.code, code);
    t.regex(error.message, message);
  };
  refuses(
    () => rotary(fixed([4, 5])),
    'ERR_SHAPE',
    /^expected x .* an even width .*, received x \[4, 5\]$/,
  );
  refuses(() => rotary(fixed([4])), 'ERR_SHAPE', /\[\.\.\., time, width\]/);
  refuses(() => rotary(fixed([4, 6]), { base: 0 }), 'ERR_ARGUMENT', /`base`/);
  refuses(() => rotary(fixed([4, 6]), { base: 1e31 }), 'ERR_ARGUMENT', /`base` .* below 1e30/);
  refuses(() => rotary(fixed([4, 6]), { theta: 1 }), 'ERR_ARGUMENT', /only base/);
  refuses(() => rotary(fixed([4, 6], 'int32')), 'ERR_DTYPE', /float32/);
});
