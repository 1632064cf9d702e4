// Learning rates against those of torch.optim.lr_scheduler, and what fit tells a schedule.
import { readFileSync } from 'node:fs';
import test from 'ava';
import {
  constant,
  cosine,
  dense,
  exponential,
  linearDecay,
  oneCycle,
  reduceOnPlateau,
  sequential,
  sgd,
  stepDecay,
  Trainer,
} from 'tandem-ml';

const golden = JSON.parse(
  readFileSync(new URL('../golden/schedules/pytorch.json', import.meta.url), 'utf8'),
);
const lengths = { totalSteps: 23 };

const schedules = {
  stepDecay: stepDecay({ stepSize: 4, gamma: 0.5 }),
  multiStep: stepDecay({ stepSize: [3, 7, 8], gamma: 0.3 }),
  exponential: exponential({ gamma: 0.9 }),
  cosine: cosine({ warmupSteps: 4, warmupStart: 0.1, totalSteps: 20, minimum: 0.05 }),
  constant: constant({ warmupSteps: 5, warmupStart: 0.25 }),
  oneCycle: oneCycle(lengths),
  oneCycleLinear: oneCycle({ ...lengths, annealStrategy: 'linear', pctStart: 0.4 }),
  oneCycleThree: oneCycle({ ...lengths, threePhase: true, divFactor: 10, finalDivFactor: 100 }),
};

const close = (t, actual, expected, name) => {
  t.is(actual.length, expected.length);
  actual.forEach((value, i) => {
    t.true(Math.abs(value - expected[i]) <= 1e-12, `${name}, step ${i}: ${value}, ${expected[i]}`);
  });
};

for (const [name, schedule] of Object.entries(schedules)) {
  test(`${name} has PyTorch's rates`, (t) => {
    const rates = golden[name].map((_, step) => schedule(step));
    close(t, rates, golden[name], name);
  });
}

for (const [name, options] of Object.entries({
  plateau: { patience: 1, factor: 0.5 },
  plateauAbs: { patience: 0, threshold: 0.05, thresholdMode: 'abs', cooldown: 2 },
  plateauMax: { mode: 'max', patience: 2, factor: 0.2, minimum: 0.03 },
})) {
  test(`reduceOnPlateau has PyTorch's rates: ${name}`, (t) => {
    const make = () => reduceOnPlateau({ ...options, monitor: 'loss' });
    let schedule = make();
    const rates = golden.plateauLosses.map((loss, epoch) => {
      const rate = schedule(epoch);
      schedule.onEpochEnd?.({ loss: loss ?? Number.NaN });
      // What a checkpoint keeps is all that there is.
      const next = make();
      next.loadState?.(JSON.parse(JSON.stringify(schedule.saveState?.())));
      schedule = next;
      return rate;
    });
    close(t, rates, golden[name], name);
  });
}

test('linearDecay goes up, then down in a line, and stays there', (t) => {
  const schedule = linearDecay({ warmupSteps: 2, totalSteps: 6, minimum: 0.5 });
  close(t, [0, 1, 2, 3, 4, 5, 6, 100].map(schedule), [0, 0.5, 1, 0.875, 0.75, 0.625, 0.5, 0.5]);
});

test('schedules refuse what makes no sense', (t) => {
  const bad = { code: 'ERR_ARGUMENT' };
  t.throws(() => stepDecay({ stepSize: 0 }), bad);
  t.throws(() => stepDecay({ stepSize: [5, 3] }), { ...bad, message: /ascending/ });
  t.throws(() => exponential({ gamma: 0 }), bad);
  t.throws(() => oneCycle({ totalSteps: 1 }), bad);
  t.throws(() => oneCycle({ totalSteps: 10, annealStrategy: 'sin' }), bad);
  t.throws(() => reduceOnPlateau({ factor: 1 }), bad);
  t.throws(() => constant({ warmup: 3 }), { ...bad, message: /warmupSteps/ });
  t.throws(() => reduceOnPlateau().onEpochEnd?.({ loss: 1 }), { ...bad, message: /valLoss/ });
  t.throws(() => reduceOnPlateau().loadState?.({ current: 2 }), bad);
});

test('a trainer that could not be made leaves its scheduler to another', (t) => {
  const model = sequential([dense(1)], { input: [1], seed: 1 });
  const options = { loss: /** @type {const} */ ('mse'), lrScheduler: reduceOnPlateau() };
  t.throws(() => new Trainer(model, { ...options, memoryLimit: 8 }), { code: 'ERR_OUT_OF_MEMORY' });
  t.notThrows(() => new Trainer(model, options));
  t.throws(() => new Trainer(model, options), { code: 'ERR_ARGUMENT', message: /another Trainer/ });
});

test('fit tells reduceOnPlateau what epochs reported', async (t) => {
  const model = sequential([dense(1)], { input: [1], seed: 1 });
  const lrScheduler = reduceOnPlateau({ monitor: 'loss', patience: 0, factor: 0.5, threshold: 0 });
  const optimizer = sgd({ learningRate: 1e-12 });
  const trainer = new Trainer(model, { loss: 'mse', optimizer, lrScheduler });
  t.teardown(() => trainer.close());
  const data = { x: Float32Array.of(1, 2), y: Float32Array.of(5, 6) };
  // A rate that moves nothing: the loss never improves.
  const { learningRate } = await trainer.fit(data, { epochs: 4, verbose: 0 });
  close(
    t,
    learningRate.map((rate) => rate * 1e12),
    [1, 1, 0.5, 0.25],
    'learningRate',
  );
});

test('oneCycle: a phase of no steps is at its end', (t) => {
  for (const options of [
    { totalSteps: 10, pctStart: 0.1 },
    { totalSteps: 2, pctStart: 0.5 },
    { totalSteps: 10, pctStart: 0.1, annealStrategy: 'linear' },
    { totalSteps: 10, pctStart: 0.1, threePhase: true },
  ]) {
    const factors = Array.from({ length: 12 }, (_, step) => oneCycle(options)(step));
    t.is(factors[0], 1);
    t.true(factors.every((factor) => factor > 0 && factor <= 1));
  }
});

test('fit refuses a monitor of reduceOnPlateau that epochs will not report', async (t) => {
  const model = sequential([dense(1)], { input: [1], seed: 1 });
  const trainer = new Trainer(model, { loss: 'mse', lrScheduler: reduceOnPlateau() });
  t.teardown(() => trainer.close());
  const data = { x: Float32Array.of(1, 2), y: Float32Array.of(1, 2) };
  const steps = [];
  const callbacks = [{ onTrainBegin: () => steps.push(0), onBatchEnd: (step) => steps.push(step) }];
  await t.throwsAsync(trainer.fit(data, { verbose: 0, callbacks }), {
    code: 'ERR_ARGUMENT',
    message: /one of loss, learningRate for `monitor`, received "valLoss"/,
  });
  t.deepEqual(steps, []);
  await trainer.fit(data, { verbose: 0, validationSplit: 0.5 });
});

test('reduceOnPlateau knows in which direction a number gets better', (t) => {
  const rates = (options, values) => {
    const schedule = reduceOnPlateau({ patience: 0, factor: 0.5, ...options });
    return values.map((value) => {
      schedule.onEpochEnd?.({ [schedule.monitor ?? '']: value });
      return schedule(0);
    });
  };
  t.deepEqual(rates({ monitor: 'valAccuracy' }, [0.5, 0.6, 0.7, 0.7]), [1, 1, 1, 0.5]);
  t.deepEqual(rates({ monitor: 'valLoss' }, [0.7, 0.6, 0.5, 0.5]), [1, 1, 1, 0.5]);
  t.deepEqual(rates({ monitor: 'valAccuracy', mode: 'min' }, [0.5, 0.6, 0.7]), [1, 0.5, 0.25]);
});

test('reduceOnPlateau belongs to one Trainer, other schedules to all', (t) => {
  const make = (lrScheduler) => {
    const model = sequential([dense(1)], { input: [1], seed: 1 });
    const trainer = new Trainer(model, { loss: 'mse', lrScheduler });
    t.teardown(() => trainer.close());
  };
  const [plateau, steady] = [reduceOnPlateau(), constant()];
  make(plateau);
  t.throws(() => make(plateau), { code: 'ERR_ARGUMENT', message: /a scheduler of its own/ });
  make(steady);
  t.notThrows(() => make(steady));
});

test('reduceOnPlateau: an infinite number is the worst, or one that nothing is better than', (t) => {
  const factorAfter = (options, ...losses) => {
    let schedule = reduceOnPlateau({ monitor: 'loss', patience: 1, factor: 0.5, ...options });
    for (const loss of losses) {
      schedule.onEpochEnd?.({ loss });
      const next = reduceOnPlateau({ monitor: 'loss', patience: 1, factor: 0.5, ...options });
      next.loadState?.(schedule.saveState?.());
      schedule = next;
    }
    return schedule(0);
  };
  const inf = Number.POSITIVE_INFINITY;
  t.is(factorAfter({}, inf, 5, 4, 3, 2, 1), 1);
  t.is(factorAfter({ mode: 'max' }, -inf, 1, 2, 3, 4, 5), 1);
  t.is(factorAfter({}, inf, inf, inf), 0.5);
  t.is(factorAfter({}, -inf, 5, 4, 3), 0.5);
});
