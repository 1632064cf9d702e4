// What the engine uses of the processor, for the description of the machine.
import { native } from '../../dist/native.js';

export function describeEngine() {
  const { isa, extensions } = native.cpu();
  return { isa, extensions };
}
