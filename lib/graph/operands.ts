// Errors of ops that are checked here, before they are put together from others: in the words of those
// that native code checks (native/core/op.cpp).
import { TandemError } from '../errors.js';
import { showShape, type Value } from './value.js';

/** Values by what users call them; null where one is left out. */
export type Operands = Readonly<Record<string, Value | null>>;

/** ERR_SHAPE: "expected x [n] and w [n] for `op`, received x [batch], w [3]". */
export function misshapen(op: string, expected: string, operands: Operands): TandemError {
  const received = Object.entries(operands).flatMap(([name, value]) =>
    value === null ? [] : [`${name} ${showShape(value)}`],
  );
  const message = `expected ${expected} for \`${op}\`, received ${received.join(', ')}`;
  return new TandemError('ERR_SHAPE', message);
}

/** Throws ERR_DTYPE unless all of these are float32. */
export function expectFloat32(op: string, operands: Operands): void {
  for (const [name, value] of Object.entries(operands)) {
    if (value === null || value.dtype === 'float32') continue;
    const received = `${value.dtype} ${showShape(value)}`;
    const message = `expected float32 for \`${name}\` of \`${op}\`, received ${received}`;
    throw new TandemError('ERR_DTYPE', message);
  }
}
