// SIGTERM and fits with `exitOnSigterm`: the process exits when all of them that run have saved.

/** Those that the signal has reached and that are not over. */
let running = 0;
let failed = false;
/** Those that are over while others are not. */
let waiting: (() => void)[] = [];
/** Of their callbacks, those that run. */
const calls = new Set<object>();

/** A callback of a fit that the signal reaches begins; it is over once the result is called. */
export function beginCall(): () => void {
  const call = {};
  calls.add(call);
  return () => calls.delete(call);
}

/** The callbacks that run now: one of them may be what calls. */
export const callsNow = (): readonly object[] => [...calls];

/** SIGTERM has reached one more. */
export function beginTermination(): void {
  running++;
}

/**
 * One of them is over. The last one ends the process with code 0, so that nobody goes on, unless one
 * has failed, whose error is to be seen then. `around`: callbacks that ran when it began. One that still
 * runs waits for this fit, and another fit for it.
 */
export async function endTermination(hasSaved: boolean, around: readonly object[]): Promise<void> {
  running--;
  failed ||= !hasSaved;
  if (running > 0) {
    if (!hasSaved || around.some((call) => calls.has(call))) return;
    await new Promise<void>((resolve) => {
      waiting.push(resolve);
    });
    return;
  }
  if (!failed) process.exit(0);
  failed = false;
  for (const goOn of waiting) goOn();
  waiting = [];
}
