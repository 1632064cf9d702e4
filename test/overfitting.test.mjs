// Overfitting on curves with known answers, and its rate of false alarms.
import test from 'ava';
import { dense, detectOverfitting, sequential, Trainer } from 'tandem-ml';
import { overfitting, trendOf } from '../dist/internals.js';
import { loadDigits } from '../examples/lib/digits.mjs';

/** Normal numbers from a seed (Box and Muller, over a linear congruential generator). */
function noise(seed) {
  let state = BigInt(seed) * 7919n + 12345n;
  const uniform = () => {
    state = (state * 6364136223846793005n + 1442695040888963407n) & 0xffffffffffffffffn;
    return (Number(state >> 11n) + 0.5) / 2 ** 53;
  };
  return () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
}

const curve = (epochs, value) => Array.from({ length: epochs }, (_, i) => value(i));
const falling = (epochs) => curve(epochs, (i) => Math.exp(-i / 8));

test('a validation loss that turns', (t) => {
  for (const turn of [5, 12, 25]) {
    const valLoss = curve(40, (i) => 0.5 + 0.001 * (i - turn) ** 2);
    const found = overfitting(falling(40), valLoss);
    t.is(found.verdict, 'overfitting');
    t.is(found.startEpoch, turn);
    t.is(found.bestEpoch, turn);
    t.true(found.gap > 0 && found.gapTrend > 0 && found.pValue < 0.001);
    t.true(Math.abs(found.excess - (0.001 * (39 - turn) ** 2) / 0.5) < 1e-12);
    t.true(found.message.includes(`since epoch ${turn + 1}`), found.message);
  }
});

test('the same under noise, within a few epochs', (t) => {
  for (let seed = 0; seed < 20; seed++) {
    const random = noise(seed);
    const valLoss = curve(60, (i) => 0.5 + 0.0005 * (i - 20) ** 2 + 0.01 * random());
    const found = overfitting(falling(60), valLoss);
    t.is(found.verdict, 'overfitting');
    t.true(Math.abs(found.startEpoch - 20) <= 8, `${found.startEpoch}`);
  }
});

test('the other verdicts', (t) => {
  const down = falling(40);
  const verdict = (loss, valLoss) => overfitting(loss, valLoss).verdict;
  t.is(
    verdict(
      down,
      down.map((value) => value + 0.1),
    ),
    'improving',
  );
  const random = noise(3);
  const flat = curve(40, () => 0.5 + 0.01 * random());
  t.is(verdict(down, flat), 'widening');
  t.is(
    verdict(
      curve(40, () => 0.4 + 0.01 * random()),
      flat,
    ),
    'converged',
  );
  t.is(
    verdict(
      curve(40, (i) => 1 + i / 10),
      curve(40, (i) => 1 + i / 9),
    ),
    'diverging',
  );
  t.is(verdict(down.with(39, Number.NaN), flat), 'diverging');
  t.is(verdict(down, flat.with(39, Number.POSITIVE_INFINITY)), 'diverging');
  t.is(verdict(down, []), 'unknown');
  t.is(verdict(down.slice(0, 6), flat.slice(0, 6)), 'unknown');
  t.is(verdict(down, flat.with(3, Number.NaN)), 'unknown');
});

test('a large gap alone is no overfitting', (t) => {
  const loss = falling(40);
  t.is(
    overfitting(
      loss,
      loss.map((value) => 10 * value + 5),
    ).verdict,
    'improving',
  );
});

test('the verdict does not depend on the unit of the loss', (t) => {
  const random = noise(9);
  const loss = falling(50);
  const valLoss = curve(50, (i) => 0.5 + 0.0002 * (i - 25) ** 2 + 0.02 * random());
  const plain = overfitting(loss, valLoss);
  for (const unit of [1e-6, 1e6]) {
    const scaled = overfitting(
      loss.map((v) => v * unit),
      valLoss.map((v) => v * unit),
    );
    t.is(scaled.verdict, plain.verdict);
    t.is(scaled.startEpoch, plain.startEpoch);
    t.is(scaled.pValue, plain.pValue);
  }
});

test('false alarms are as rare as they may be', (t) => {
  const trials = 2000;
  let alarms = 0;
  for (let seed = 0; seed < trials; seed++) {
    const random = noise(seed);
    const valLoss = curve(30, () => 1 + random());
    if (overfitting(falling(30), valLoss).verdict === 'overfitting') alarms++;
  }
  // Three deviations of a count with chance 0.05.
  const most = trials * 0.05 + 3 * Math.sqrt(trials * 0.05 * 0.95);
  t.true(alarms > 0 && alarms <= most, `${alarms} of ${trials}`);
});

test('looking after each epoch raises no more of them', async (t) => {
  const trials = 500;
  let alarms = 0;
  for (let seed = 0; seed < trials; seed++) {
    const random = noise(seed);
    const detector = detectOverfitting();
    detector.onTrainBegin(undefined, ['loss', 'valLoss']);
    for (const [epoch, loss] of falling(40).entries()) {
      await detector.onEpochEnd(epoch, { loss, valLoss: 1 + random() });
    }
    if (detector.detectedEpoch !== -1) alarms++;
  }
  const most = trials * 0.05 + 3 * Math.sqrt(trials * 0.05 * 0.95);
  t.true(alarms <= most, `${alarms} of ${trials}`);
});

test('what was found is the same after going on from a checkpoint', async (t) => {
  // So many of the pairs rise that a single look finds a trend, and one of many does not.
  const validation = [1, 1.1, 1.3, 1.2, 1.5, 1.4, 1.7, 1.6];
  const begin = () => {
    const made = detectOverfitting();
    made.onTrainBegin(undefined, ['loss', 'valLoss']);
    return made;
  };
  const detector = begin();
  for (const [epoch, loss] of falling(8).entries()) {
    await detector.onEpochEnd(epoch, { loss, valLoss: validation[epoch] });
    const resumed = begin();
    resumed.loadState(detector.saveState());
    t.deepEqual(resumed.found, detector.found, `after epoch ${epoch}`);
  }
  t.is(detector.detectedEpoch, -1);
  t.is(overfitting(falling(8), validation).verdict, 'overfitting');
});

/** The chances of all orders of n values, by trying them. */
function tryOrders(n, score) {
  const orders = (items) =>
    items.length === 0
      ? [[]]
      : items.flatMap((item) =>
          orders(items.filter((other) => other !== item)).map((rest) => [item, ...rest]),
        );
  const scoreOf = (order) => {
    let sum = 0;
    for (let i = 0; i < n; i++) {
      for (let j = i + 1; j < n; j++) sum += Math.sign(order[j] - order[i]);
    }
    return sum;
  };
  const all = orders([...Array(n).keys()]).map(scoreOf);
  return all.filter((value) => value >= score(scoreOf)).length / all.length;
}

test('the chances of a trend are those of all orders', (t) => {
  for (const series of [
    [1, 2, 3, 4],
    [3, 1, 2, 5, 4],
    [6, 5, 1, 2, 4, 3],
    [1, 2, 3, 7, 5, 6, 4],
  ]) {
    const { rising, falling: fall } = trendOf(series);
    t.true(Math.abs(rising - tryOrders(series.length, (of) => of(series))) < 1e-12);
    t.true(Math.abs(fall - tryOrders(series.length, (of) => of(series.map((v) => -v)))) < 1e-12);
  }
  t.deepEqual(trendOf([4, 4, 4, 4, 4]), { slope: 0, rising: 1, falling: 1 });
  t.is(trendOf([0, 2, 4, 6, 800]).slope, 2);
});

test('the chances of longer series are those of orders drawn at random', (t) => {
  const random = noise(5);
  const trials = 4000;
  // Exact up to 20 points, approximate from there.
  for (const n of [20, 21, 60]) {
    const series = curve(n, (i) => (4 * i) / n ** 1.5 + random());
    const scoreOf = (order) => {
      let sum = 0;
      for (let i = 0; i < n; i++) for (let j = 0; j < i; j++) sum += Math.sign(order[i] - order[j]);
      return sum;
    };
    const score = scoreOf(series);
    let least = 0;
    for (let trial = 0; trial < trials; trial++) {
      const order = series.map((value) => [random(), value]).sort(([a], [b]) => a - b);
      if (scoreOf(order.map(([, value]) => value)) >= score) least++;
    }
    const { rising } = trendOf(series);
    t.true(rising > 0.001 && rising < 0.9, `${rising}`);
    // Four deviations of a count.
    const most = 4 * Math.sqrt(trials * rising * (1 - rising));
    t.true(Math.abs(least - trials * rising) < most, `${least} of ${trials}, ${rising}`);
  }
});

test('the slope of a long series is that of its points', (t) => {
  const random = noise(5);
  const start = curve(5000, (i) => i + random());
  t.true(Math.abs(trendOf(start).slope - 1) < 0.01);
});

test('an overfitted model of digits, seen while it trains', async (t) => {
  const [train, validation] = await loadDigits({ sizes: [120, 400], seed: 3 });
  // One label in four is wrong: there is something to learn by heart.
  for (let i = 0; i < train.y.length; i += 4) train.y[i] = (train.y[i] + 1 + (i % 9)) % 10;
  const model = sequential([dense(128, { activation: 'relu' }), dense(10)], {
    input: [64],
    seed: 1,
  });
  const trainer = new Trainer(model, { loss: 'crossEntropy', seed: 1 });
  t.teardown(() => trainer.close());
  const seen = [];
  const detector = detectOverfitting({ stop: true, onDetected: (found) => void seen.push(found) });
  const history = await trainer.fit(train, {
    epochs: 100,
    validationData: validation,
    verbose: 0,
    callbacks: [detector],
  });
  t.true(history.epochs.length < 100);
  t.is(seen.length, 1);
  t.is(seen[0], detector.found);
  t.is(detector.detectedEpoch, history.epochs.at(-1));
  const verdict = history.overfitting();
  t.is(verdict.verdict, 'overfitting');
  const best = history.valLoss.indexOf(Math.min(...history.valLoss));
  t.is(verdict.startEpoch, best);
  t.is(verdict.gap, history.valLoss.at(-1) - history.loss.at(-1));
});

test('a model of digits that does not overfit', async (t) => {
  const [train, validation] = await loadDigits({ sizes: [1200, 400], seed: 3 });
  const trainer = new Trainer(sequential([dense(10)], { input: [64], seed: 1 }), {
    loss: 'crossEntropy',
  });
  t.teardown(() => trainer.close());
  const detector = detectOverfitting({ stop: true });
  const options = { epochs: 20, validationData: validation, verbose: 0, callbacks: [detector] };
  const history = await trainer.fit(train, options);
  t.is(detector.detectedEpoch, -1);
  t.is(history.overfitting().verdict, 'improving');
});

test('without validation data there is nothing to detect', async (t) => {
  const trainer = new Trainer(sequential([dense(1)], { input: [1] }), { loss: 'mse' });
  t.teardown(() => trainer.close());
  const data = { x: new Float32Array(4), y: new Float32Array(4) };
  const callbacks = [detectOverfitting()];
  await t.throwsAsync(trainer.fit(data, { verbose: 0, callbacks }), { code: 'ERR_ARGUMENT' });
  t.is((await trainer.fit(data, { verbose: 0 })).overfitting().verdict, 'unknown');
  t.throws(() => detectOverfitting({ significance: 2 }), { code: 'ERR_ARGUMENT' });
});
