// Losses with weights of elements, of rows and of classes, and distillation.
import test from 'ava';
import * as tandem from 'tandem-ml';
import { evaluate, vjp } from 'tandem-ml/autodiff';
import { check, numbers } from '../helpers/differences.mjs';
import { fixed, generator, relativeError, uniform } from '../helpers/numbers.mjs';

const { bceWithLogits, crossEntropy, distillation, huber, l1, mse } = tandem;

/** Losses of one element as their definitions say. */
const elements = {
  mse: { op: mse, of: (x, t) => (x - t) ** 2 },
  l1: { op: l1, of: (x, t) => Math.abs(x - t) },
  huber: {
    op: huber,
    options: { delta: 0.75 },
    of: (x, t) => {
      const d = Math.abs(x - t);
      return d < 0.75 ? d * d * 0.5 : 0.75 * (d - 0.375);
    },
  },
  bceWithLogits: {
    op: bceWithLogits,
    options: { posWeight: 3 },
    of: (x, t) => {
      const p = 1 / (1 + Math.exp(-x));
      return -(3 * t * Math.log(p) + (1 - t) * Math.log(1 - p));
    },
  },
};

const random = generator(1);
const shape = [5, 7, 3];
const size = 105;
const x = uniform(size, random, -2, 2);
const target = uniform(size, random, 0, 1);

for (const [name, { op, options }] of Object.entries(elements)) {
  test(`${name} of rows that all have a weight of 0 is 0, and so is its gradient`, (t) => {
    const [vx, vt, vw] = [fixed([5, 21]), fixed([5, 21]), fixed([5])];
    const feeds = new Map([
      [vx, x],
      [vt, target],
      [vw, new Float32Array(5)],
    ]);
    const loss = op(vx, vt, { ...options, weights: vw });
    const { outputs, gradients } = vjp(loss, feeds, Float32Array.of(1), { wrt: [vx] });
    t.is(outputs[0][0], 0);
    t.true(gradients[0].every((slope) => slope === 0));
  });
}

for (const [name, { op, of, options }] of Object.entries(elements)) {
  for (const rank of [1, 2, 3]) {
    test(`${name} with weights of rank ${rank}`, (t) => {
      const weighted = shape.slice(0, rank);
      const count = weighted.reduce((product, length) => product * length, 1);
      const weights = uniform(count, random, 0, 2).map((w, i) => (i % 3 === 1 ? 0 : w));
      const [vx, vt, vw] = [fixed(shape), fixed(shape), fixed(weighted)];
      const loss = op(vx, vt, { ...options, weights: vw });
      const feeds = new Map([
        [vx, x],
        [vt, target],
        [vw, weights],
      ]);
      const each = (i) => weights[Math.floor((i * count) / size)];
      let [sum, total] = [0, 0];
      x.forEach((value, i) => {
        sum += each(i) * of(value, target[i]);
        total += each(i);
      });
      const [value] = evaluate(loss, feeds)[0];
      t.true(Math.abs(value - sum / total) < 1e-5 * Math.abs(sum / total), `${value}`);
      const { gradients } = vjp(loss, feeds, Float32Array.of(1), { wrt: [vx] });
      gradients[0].forEach((slope, i) => {
        if (each(i) === 0) t.is(Math.abs(slope), 0);
      });
    });
  }

  test(`${name} with weights of 1 is the loss without`, (t) => {
    const [vx, vt, vw] = [fixed(shape), fixed(shape), fixed(shape)];
    const feeds = new Map([
      [vx, x],
      [vt, target],
      [vw, new Float32Array(size).fill(1)],
    ]);
    const seed = Float32Array.of(1);
    const wrt = [vx, vt];
    const plain = vjp(op(vx, vt, options), feeds, seed, { wrt });
    const weighted = vjp(op(vx, vt, { ...options, weights: vw }), feeds, seed, { wrt });
    t.true(relativeError(weighted.outputs[0], plain.outputs[0]) < 1e-6);
    t.true(relativeError(weighted.gradients[0], plain.gradients[0]) < 1e-6);
    t.true(relativeError(weighted.gradients[1], plain.gradients[1]) < 1e-5);
  });

  test(`${name} checks weights`, (t) => {
    const [vx, vt] = [fixed(shape), fixed(shape)];
    for (const wrong of [[], [7], [5, 3], [5, 7, 2], [1, 7], [5, 7, 3, 1]]) {
      const weights = wrong.length === 0 ? tandem.sum(vx) : fixed(wrong);
      t.throws(() => op(vx, vt, { weights }), { code: 'ERR_SHAPE' });
    }
    t.throws(() => op(vx, vt, { weights: 1 }), { code: 'ERR_ARGUMENT' });
    const whole = fixed(shape, 'int32');
    const dtype = { code: 'ERR_DTYPE', message: /float32 for `weights`/ };
    t.throws(() => op(vx, vt, { weights: whole }), dtype);
    t.throws(() => op(vx, vt, { weight: vx }), { code: 'ERR_ARGUMENT' });
    t.throws(() => op(vx, fixed([5, 7, 2]), { weights: vx }), { code: 'ERR_SHAPE' });
  });
}

test('weights with axes of length 1 broadcast, and count as constant', (t) => {
  for (const [shapeOf, at] of [
    [[5, 7, 1], (i) => Math.floor(i / 3)],
    [[1, 7, 3], (i) => i % 21],
    [[1, 1, 3], (i) => i % 3],
    [[5, 1, 3], (i) => 3 * Math.floor(i / 21) + (i % 3)],
  ]) {
    const count = shapeOf.reduce((product, length) => product * length, 1);
    const data = uniform(count, random, 0, 2);
    const whole = Float32Array.from({ length: size }, (_, i) => data[at(i)]);
    const [vx, vt, vw, each] = [fixed(shape), fixed(shape), fixed(shapeOf), fixed(shape)];
    const feeds = new Map([
      [vx, x],
      [vt, target],
      [vw, data],
      [each, whole],
    ]);
    for (const { op, options } of Object.values(elements)) {
      const seed = Float32Array.of(1);
      const wrt = [vx, vt, vw];
      const small = vjp(op(vx, vt, { ...options, weights: vw }), feeds, seed, { wrt });
      const large = vjp(op(vx, vt, { ...options, weights: each }), feeds, seed, { wrt });
      t.true(relativeError(small.outputs[0], large.outputs[0]) < 1e-6);
      t.true(relativeError(small.gradients[0], large.gradients[0]) < 1e-6);
      t.true(relativeError(small.gradients[1], large.gradients[1]) < 1e-6);
      t.true(small.gradients[2].every((slope) => slope === 0));
    }
  }
});

const classTargets = Int32Array.from({ length: 15 }, (_, i) => (i % 4 === 1 ? -100 : (3 * i) % 7));
const rowWeights = (shapeOf) => {
  const count = shapeOf.reduce((product, length) => product * length, 1);
  return Float32Array.from({ length: count }, (_, i) => (i % 3 === 1 ? 0 : 0.5 + random()));
};

for (const rows of [[3], [3, 5], [3, 1], [1, 5]]) {
  const at = (i) => {
    const [batch, time] = [Math.floor(i / 5), i % 5];
    if (rows.length === 1) return batch;
    return (rows[0] === 1 ? 0 : batch * rows[1]) + (rows[1] === 1 ? 0 : time);
  };

  test(`crossEntropy with weights [${rows}]`, (t) => {
    const logits = uniform(15 * 7, random, -3, 3);
    const weights = rowWeights(rows);
    const classWeights = [1, 2, 0.5, 3, 1, 0.25, 4];
    const [vx, vt, vw] = [fixed([3, 5, 7]), fixed([3, 5], 'int32'), fixed(rows)];
    const feeds = new Map([
      [vx, logits],
      [vt, classTargets],
      [vw, weights],
    ]);
    const smoothing = 0.2;
    const options = { classWeights, labelSmoothing: smoothing, weights: vw };
    let [sum, divisor] = [0, 0];
    for (let i = 0; i < 15; i++) {
      if (classTargets[i] < 0) continue;
      const row = [...logits.subarray(7 * i, 7 * i + 7)];
      const logSum = Math.log(row.reduce((all, v) => all + Math.exp(v), 0));
      row.forEach((v, c) => {
        const share = (c === classTargets[i] ? 1 - smoothing : 0) + smoothing / 7;
        sum += weights[at(i)] * share * classWeights[c] * (logSum - v);
      });
      divisor += weights[at(i)] * classWeights[classTargets[i]];
    }
    const [value] = evaluate(crossEntropy(vx, vt, options), feeds)[0];
    t.true(Math.abs(value - sum / divisor) < 2e-6 * value, `${value} ${sum / divisor}`);
    check(t, {
      graph: (v) => crossEntropy(v.x, v.t, { ...options, weights: v.w }),
      floats: {
        x: { shape: [3, 5, 7], data: logits },
        w: { shape: rows, data: weights, constant: true },
      },
      integers: { t: { shape: [3, 5], data: classTargets } },
    });
  });

  test(`distillation with weights [${rows}]`, (t) => {
    const [student, teacher] = [uniform(15 * 7, random, -3, 3), uniform(15 * 7, random, -3, 3)];
    const weights = rowWeights(rows);
    const each = Array.from({ length: 15 }, (_, i) => {
      const feeds = new Map();
      const [vx, vt] = [fixed([1, 7]), fixed([1, 7])];
      feeds.set(vx, student.slice(7 * i, 7 * i + 7)).set(vt, teacher.slice(7 * i, 7 * i + 7));
      return evaluate(distillation(vx, vt, { temperature: 2 }), feeds)[0][0];
    });
    const total = each.reduce((sum, _, i) => sum + weights[at(i)], 0);
    const expected = each.reduce((sum, loss, i) => sum + loss * weights[at(i)], 0) / total;
    const [vx, vt, vw] = [fixed([3, 5, 7]), fixed([3, 5, 7]), fixed(rows)];
    const feeds = new Map([
      [vx, student],
      [vt, teacher],
      [vw, weights],
    ]);
    const [value] = evaluate(distillation(vx, vt, { temperature: 2, weights: vw }), feeds)[0];
    t.true(Math.abs(value - expected) < 2e-6 * expected, `${value} ${expected}`);
    const constant = true;
    check(t, {
      graph: (v) => distillation(v.x, v.t, { temperature: 2, weights: v.w }),
      floats: {
        x: { shape: [3, 5, 7], data: student },
        t: { shape: [3, 5, 7], data: teacher, constant },
        w: { shape: rows, data: weights, constant },
      },
    });
  });
}

test('losses of classes check weights', (t) => {
  const [x, target, teacher] = [fixed([3, 5, 7]), fixed([3, 5], 'int32'), fixed([3, 5, 7])];
  for (const wrong of [[], [5], [3, 4], [3, 5, 7], [3, 5, 1]]) {
    const weights = wrong.length === 0 ? tandem.sum(x) : fixed(wrong);
    t.throws(() => crossEntropy(x, target, { weights }), { code: 'ERR_SHAPE' });
    t.throws(() => distillation(x, teacher, { weights }), { code: 'ERR_SHAPE' });
  }
  t.throws(() => crossEntropy(x, target, { weights: 1 }), { code: 'ERR_ARGUMENT' });
  t.throws(() => distillation(x, teacher, { weights: fixed([3], 'int32') }), { code: 'ERR_DTYPE' });
});

test('crossEntropy teaches nothing where all targets are of classes without weight', (t) => {
  for (const classes of [3, 37]) {
    const [x, target] = [fixed([5, classes]), fixed([5], 'int32')];
    const feeds = new Map([
      [x, uniform(5 * classes, random, -3, 3)],
      [target, new Int32Array(5)],
    ]);
    const classWeights = new Float32Array(classes).fill(2).fill(0, 0, 1);
    for (const labelSmoothing of [0, 0.1]) {
      const loss = crossEntropy(x, target, { classWeights, labelSmoothing });
      const { outputs, gradients } = vjp(loss, feeds, Float32Array.of(2), { wrt: [x] });
      t.false(Number.isFinite(outputs[0][0]));
      t.true(gradients[0].every((slope) => slope === 0));
    }
  }
});

test('shapes that crossEntropy refuses are those that it was given', (t) => {
  const [x, target, other] = [fixed([3, 5, 7]), fixed([3, 5], 'int32'), fixed([3, 4], 'int32')];
  const classWeights = [1, 2];
  const message = (received) => ({ code: 'ERR_SHAPE', message: received });
  t.throws(
    () => crossEntropy(x, other),
    message(/targets \[\.\.\.\] for `crossEntropy`, received x \[3, 5, 7\], target \[3, 4\]$/),
  );
  t.throws(
    () => crossEntropy(x, target, { classWeights }),
    message(/weights \[classes\].*, received x \[3, 5, 7\], target \[3, 5\], classWeights \[2\]$/),
  );
});

test('bceWithLogits weighs positive targets by the last axis', (t) => {
  const posWeight = [0.5, 1, 4];
  const floats = { x: numbers(shape, 2), t: numbers(shape, 3, { low: 0.05, high: 0.95 }) };
  check(t, { graph: (v) => bceWithLogits(v.x, v.t, { posWeight }), floats });
  const [vx, vt] = [fixed(shape), fixed(shape)];
  const feeds = new Map([
    [vx, x],
    [vt, target],
  ]);
  const sum = x.reduce((total, value, i) => {
    const p = 1 / (1 + Math.exp(-value));
    return total - posWeight[i % 3] * target[i] * Math.log(p) - (1 - target[i]) * Math.log(1 - p);
  }, 0);
  const loss = bceWithLogits(vx, vt, { posWeight: Float32Array.from(posWeight) });
  const [value] = evaluate(loss, feeds)[0];
  t.true(Math.abs(value - sum / size) < 1e-5);
  for (const wrong of [[1, 2], [1, 2, 3, 4], []]) {
    t.throws(() => bceWithLogits(vx, vt, { posWeight: wrong }), { code: 'ERR_SHAPE' });
  }
  for (const wrong of ['1', [1, -1, 1], [1, Number.NaN, 1], -1]) {
    t.throws(() => bceWithLogits(vx, vt, { posWeight: wrong }), { code: 'ERR_ARGUMENT' });
  }
});

test('crossEntropy of sequences is that of their steps as rows', (t) => {
  const [batch, time, classes] = [3, 5, 7];
  const logits = uniform(batch * time * classes, random, -3, 3);
  const targets = Int32Array.from({ length: batch * time }, (_, i) =>
    i % 4 === 1 ? -1 : (3 * i) % classes,
  );
  const options = { labelSmoothing: 0.1, ignoreIndex: -1, classWeights: [1, 2, 3, 4, 5, 6, 0.5] };
  const results = [[batch, time], [batch * time]].map((rows) => {
    const [vx, vt] = [fixed([...rows, classes]), fixed(rows, 'int32')];
    const feeds = new Map([
      [vx, logits],
      [vt, targets],
    ]);
    return vjp(crossEntropy(vx, vt, options), feeds, Float32Array.of(1), { wrt: [vx] });
  });
  t.deepEqual(results[0], results[1]);
});

test('distillation', (t) => {
  for (const temperature of [undefined, 0.5, 3]) {
    for (const rows of [[1, 1], [11, 7], [3, 5, 33], [17]]) {
      const floats = { x: numbers(rows, 4), t: { ...numbers(rows, 5), constant: true } };
      check(t, { graph: (v) => distillation(v.x, v.t, { temperature }), floats });
    }
  }
});

test('distillation takes its teacher as given', (t) => {
  const [student, teacher] = [fixed([3, 5]), fixed([3, 5])];
  const feeds = new Map([
    [student, uniform(15, random)],
    [teacher, uniform(15, random)],
  ]);
  const { gradients } = vjp(distillation(student, teacher), feeds, Float32Array.of(1));
  t.true(gradients[0].some((slope) => slope !== 0));
  t.true(gradients[1].every((slope) => slope === 0));
  const self = new Map([[student, uniform(15, random)]]);
  t.true(Math.abs(evaluate(distillation(student, student), self)[0][0]) < 1e-6);
});

test('distillation checks shapes and its temperature', (t) => {
  const logits = fixed([3, 5]);
  t.throws(() => distillation(logits, fixed([3, 4])), { code: 'ERR_SHAPE' });
  t.throws(() => distillation(tandem.sum(logits), tandem.sum(logits)), { code: 'ERR_SHAPE' });
  for (const temperature of [0, -1, Number.NaN, Number.POSITIVE_INFINITY, '2']) {
    t.throws(() => distillation(logits, logits, { temperature }), { code: 'ERR_ARGUMENT' });
  }
});

test('a trainer distils by name, masks by an input, and weighs by a function', async (t) => {
  const input = tandem.input([4], { name: 'x' });
  const mask = tandem.input([2], { name: 'mask' });
  const output = tandem.dense(2)(input);
  const model = new tandem.Model({ inputs: { x: input, mask }, outputs: { y: output }, seed: 1 });
  const optimizer = tandem.sgd({ learningRate: 0.1 });
  const batch = {
    x: uniform(20, random),
    mask: Float32Array.from({ length: 10 }, (_, i) => i % 2),
  };
  const goal = uniform(10, random);
  const learn = async (loss) => {
    const trainer = new tandem.Trainer(model, { loss, optimizer });
    const losses = [];
    for (let step = 0; step < 5; step++) {
      losses.push((await trainer.step({ x: batch, y: goal })).loss);
    }
    await trainer.close();
    t.true(losses[4] < losses[0], `${losses}`);
    return losses[0];
  };
  const bias = model.parameters.get('dense.bias').data;
  const [first] = bias;
  await learn((y, target) => mse(y, target, { weights: mask }));
  t.is(bias[0], first, 'what the mask hides is not trained');
  await learn('distillation');
  await learn((y, target) => distillation(y, target, { temperature: 4 }));
});
