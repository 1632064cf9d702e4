import { native } from './native.js';

/** A device that this machine has, or why it cannot be had. */
export interface DeviceInfo {
  /** As the option `device` takes it: 'cpu', 'cuda:0', ... */
  readonly name: string;
  /** What it is, such as the instruction set in use or the name of a GPU. */
  readonly description: string;
  /** Why it cannot be used, and the fix; left out where it can. */
  readonly reason?: string;
}

/**
 * The CPU, then each GPU; without a GPU one entry 'cuda' whose `reason` says what is missing: the
 * driver, the CUDA backend (`npm run build:cuda`) or cuBLASLt. The first call looks for them.
 */
export function devices(): DeviceInfo[] {
  return native.devices();
}
