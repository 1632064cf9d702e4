import type { Counter } from '../bindings.js';
import { native } from './native.js';

/** A placeholder that shows the addon's types reaching a user. */
export function counter(): Counter {
  return new native.Counter();
}
