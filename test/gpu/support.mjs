// What the groups of checks on a device share. A group is a process of its own, started by run.mjs, which
// reads its lines: `begin NAME`, then `ok NAME` or `not ok NAME`, at last `end`. TANDEM_TEST_FROM says how
// many checks were done by a process before it that did not come to its end.
import { writeSync } from 'node:fs';
import { Predictor, Trainer } from 'tandem-ml';

/** 'cuda', or 'cpu' to try the checks themselves where there is no GPU. */
export const device = process.env.TANDEM_TEST_DEVICE ?? 'cuda';
export const onGpu = device !== 'cpu';
const from = Number(process.env.TANDEM_TEST_FROM ?? 0);
let count = 0;

/** At once, so that nothing is lost when the process crashes. */
const say = (line) => writeSync(1, `${line}\n`);

/** A value's text, an error's with all that it has. */
function explain(error) {
  if (!(error instanceof Error)) return String(error);
  const { name, code, message, stack = '', cause } = error;
  const at = stack.split('\n').filter((line) => line.startsWith('    at '));
  const why = cause === undefined ? '' : `; cause: ${explain(cause)}`;
  return `${code ?? name}: ${message}${why}\n${at.slice(0, 4).join('\n')}`;
}

/**
 * Runs one check: `body` throws when it fails, and may return what is worth to know. It gets a context whose
 * `teardown` takes what is to be done afterwards, as AVA's. After an error of the device this process
 * ends, as such errors stay, and the next check begins in a new one.
 */
export async function check(name, body) {
  if (count++ < from) return;
  say(`begin ${name}`);
  const teardowns = [];
  const start = performance.now();
  let failure;
  try {
    const note = await body({ teardown: (task) => teardowns.push(task) });
    const ms = Math.round(performance.now() - start);
    say(`ok ${name} (${ms} ms)${note === undefined ? '' : `: ${note}`}`);
  } catch (error) {
    failure = error;
    say(`not ok ${name}: ${explain(error).replaceAll('\n', '\n  ')}`);
  }
  if (failure?.code === 'ERR_DEVICE') process.exit(70);
  for (const task of teardowns.reverse()) {
    await Promise.resolve(task()).catch((error) => say(`  teardown: ${explain(error)}`));
  }
}

/** The last line of a group; without it run.mjs takes the group for crashed. */
export const end = () => say('end');

export function ensure(condition, message) {
  if (!condition) throw new Error(message);
}

/**
 * Throws unless `got` is within `tolerance` of `want` by norm; returns the distance. Says where it is
 * worst.
 */
export function near(got, want, tolerance, what = 'result') {
  ensure(got.length === want.length, `${what}: ${got.length} elements, expected ${want.length}`);
  let [distance, norm, worst, at, wrong] = [0, 0, -1, 0, 0];
  for (let i = 0; i < want.length; i++) {
    const same = Object.is(got[i], want[i]);
    const far = same ? 0 : Math.abs(got[i] - want[i]);
    if (Number.isNaN(far) || far > worst) [worst, at] = [Number.isNaN(far) ? Infinity : far, i];
    if (!(far <= tolerance * (1 + Math.abs(want[i])))) wrong++;
    distance += far ** 2;
    norm += want[i] ** 2;
  }
  const error = distance === 0 ? 0 : Math.sqrt(distance / norm);
  if (error <= tolerance) return error;
  const around = (values) => [...values.slice(Math.max(0, at - 2), at + 3)].join(' ');
  throw new Error(
    `${what}: relative error ${error}, more than ${tolerance}; ${wrong} of ${want.length} elements are off; worst at [${at}]: got ${got[at]}, want ${want[at]}; around it got ${around(got)}, want ${around(want)}; first got ${[...got.slice(0, 6)].join(' ')}, want ${[...want.slice(0, 6)].join(' ')}`,
  );
}

export function same(got, want, what) {
  const [a, b] = [JSON.stringify(got), JSON.stringify(want)];
  ensure(a === b, `${what}: got ${a}, want ${b}`);
}

/** Waits for an error with this code. */
export async function fails(code, action, what) {
  let result;
  try {
    result = await action();
  } catch (error) {
    ensure(error.code === code, `${what}: expected ${code}, received ${explain(error)}`);
    return error;
  }
  throw new Error(`${what}: expected ${code}, received ${String(result)}`);
}

/** Throws when what profile() is of runs elsewhere. */
export function onDevice({ device: name, deviceReason }) {
  ensure(name.startsWith(device), `runs on ${name}, not ${device}: ${deviceReason}`);
}

/** A Trainer on the device (or the one in `options`), closed after the check. */
export function trainerOn(t, model, options) {
  const trainer = new Trainer(model, { device, ...options });
  t.teardown(() => trainer.close());
  return trainer;
}

/** A Predictor on the device (or the one in `options`), closed after the check. */
export async function predictorOn(t, source, options) {
  const predictor = await Predictor.load(source, { device, ...options });
  t.teardown(() => predictor.close());
  return predictor;
}
