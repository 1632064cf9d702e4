// SIGTERM and fits with `exitOnSigterm`: the process exits when all of them that run have saved.

/** Those that the signal has reached and that are not over. */
let running = 0;
let failed = false;
/** Those that are over while others are not. */
let waiting: (() => void)[] = [];

/** SIGTERM has reached one more. */
export function beginTermination(): void {
  running++;
}

/**
 * One of them is over. The last one ends the process with code 0, so that nobody goes on, unless one
 * has failed, whose error is to be seen then.
 */
export async function endTermination(hasSaved: boolean): Promise<void> {
  running--;
  failed ||= !hasSaved;
  if (running > 0) {
    if (!hasSaved) return;
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
