// What the public API shows only at times.
import test from 'ava';
import { largerIsBetter, offAbort, onAbort } from '../dist/internals.js';

test('names tell whether more is better', (t) => {
  const larger = ['accuracy', 'valF1', 'top3', 'valTop3', 'left_top5', 'leftTop10', 'rocAuc'];
  t.deepEqual(larger.filter(largerIsBetter), larger);
  t.deepEqual(['loss', 'desktop1', 'stop2', 'valLaptop3', 'top'].filter(largerIsBetter), []);
});

test('of calls that wait for a signal, one that another takes off is not called', (t) => {
  const controller = new AbortController();
  const { signal } = controller;
  const called = [];
  const second = () => called.push('second');
  onAbort(signal, () => {
    called.push('first');
    offAbort(signal, second);
  });
  onAbort(signal, second);
  onAbort(signal, () => called.push('third'));
  controller.abort();
  t.deepEqual(called, ['first', 'third']);
});
