import test from 'ava';
import { version } from 'tandem-ml';

test('the addon loads', (t) => {
  t.is(version, '0.1.0');
});
