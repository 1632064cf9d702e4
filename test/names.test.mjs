// @ts-check
// Exported classes have the names that they are exported by, whatever bundling does: messages of errors
// and console.log show them.
import test from 'ava';
import * as tandem from 'tandem-ml';
import * as data from 'tandem-ml/data';

for (const [name, value] of [...Object.entries(tandem), ...Object.entries(data)]) {
  if (typeof value !== 'function' || !/^[A-Z]/.test(name)) continue;
  test(`${name} has its name`, (t) => {
    t.is(value.name, name);
  });
}

test('a model says what it is', (t) => {
  const model = tandem.sequential([tandem.dense(1)], { input: [2] });
  t.is(model.constructor.name, 'Model');
});
