// Usage: run.mjs [GROUP...]. Checks the library on a GPU (TANDEM_TEST_DEVICE=cpu tries the checks
// themselves without one): each group of checks in a process of its own, several at a time, those that
// measure alone. One line a check, at last `N passed, N failed`. Without a device it says so and exits
// with 77. Plain Node: it runs where nothing is installed.
import { spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** Seconds that a group may take, and that it may say nothing. */
const groups = {
  ops: { limit: 60, silence: 25 },
  training: { limit: 60, silence: 25 },
  examples: { limit: 80, silence: 80 },
  predictor: { limit: 60, silence: 25 },
  files: { limit: 60, silence: 25 },
  processes: { limit: 80, silence: 30 },
  memory: { limit: 60, silence: 40, alone: true },
  timing: { limit: 40, silence: 20, alone: true },
};
const scale = Number(process.env.TANDEM_TEST_SLOWNESS ?? 1);
const device = process.env.TANDEM_TEST_DEVICE ?? 'cuda';
const total = { passed: 0, failed: 0 };

/**
 * One process of a group. Resolves with how many checks it began, whether the last of them has a result, and
 * how it ended.
 */
function startGroup(name, from, deadline) {
  const file = fileURLToPath(new URL(`groups/${name}.mjs`, import.meta.url));
  const env = { ...process.env, TANDEM_TEST_DEVICE: device, TANDEM_TEST_FROM: String(from) };
  const child = spawn(process.execPath, [file], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  const state = { begun: from, open: undefined, ended: false, reason: '', errors: '' };
  const kill = (reason) => {
    state.reason = reason;
    child.kill('SIGKILL');
  };
  const silence = groups[name].silence * 1000 * scale;
  let quiet = setTimeout(kill, silence, `nothing for ${silence} ms`);
  const late = setTimeout(kill, deadline - Date.now(), 'its time is over');
  createInterface({ input: child.stdout }).on('line', (line) => {
    clearTimeout(quiet);
    quiet = setTimeout(kill, silence, `nothing for ${silence} ms`);
    readLine(name, line, state);
  });
  child.stderr.setEncoding('utf8').on('data', (text) => {
    state.errors = (state.errors + text).slice(-4000);
  });
  return new Promise((resolve) => {
    child.on('close', (code, signal) => {
      clearTimeout(quiet);
      clearTimeout(late);
      resolve({ ...state, how: state.reason || signal || `exit code ${code}` });
    });
  });
}

function readLine(group, line, state) {
  const [, kind, name] = /^(begin|ok|not ok) (.*)$/.exec(line) ?? [];
  if (kind === 'begin') {
    state.begun++;
    state.open = name;
    return;
  }
  if (line === 'end') {
    state.ended = true;
    return;
  }
  if (kind !== undefined) {
    total[kind === 'ok' ? 'passed' : 'failed']++;
    state.open = undefined;
  }
  console.log(kind === undefined ? `  ${line}` : `${kind} ${group}: ${name}`);
}

/** All of a group, in further processes behind checks that end theirs. */
async function runGroup(name) {
  const start = Date.now();
  const deadline = start + groups[name].limit * 1000 * scale;
  for (let from = 0; ; ) {
    const { begun, open, ended, how, errors } = await startGroup(name, from, deadline);
    const silent = ended && how === 'exit code 0';
    if (!silent && how !== 'exit code 70') {
      total.failed++;
      const during = open === undefined ? 'between checks' : `in "${open}"`;
      console.log(`not ok ${name}: the process ended ${during}: ${how}`);
    }
    if (errors !== '')
      console.log(`  stderr of ${name}: ${errors.trim().replaceAll('\n', '\n  ')}`);
    const over = Date.now() >= deadline;
    if (over) console.log(`  ${name}: after ${begun} checks its time is over`);
    if (ended || over || begun === from) break;
    from = begun;
  }
  console.log(`# ${name}: ${((Date.now() - start) / 1000).toFixed(1)} s`);
}

/** Says why there is nothing to test on, or what there is. */
async function probe() {
  const { devices } = await import('tandem-ml');
  const found = devices();
  for (const { name, description, reason = 'can be used' } of found)
    console.log(`${name}: ${description}: ${reason}`);
  return device === 'cpu' || found.some(({ name, reason }) => name !== 'cpu' && !reason);
}

async function main(named) {
  const unknown = named.find((name) => !Object.hasOwn(groups, name));
  if (unknown) throw new Error(`unknown group ${unknown}; known: ${Object.keys(groups).join(' ')}`);
  if (!(await probe())) {
    console.log('nothing tested: no GPU that can be used');
    process.exitCode = 77;
    return;
  }
  const wanted = Object.keys(groups).filter((name) => named.length === 0 || named.includes(name));
  const together = wanted.filter((name) => !groups[name].alone);
  const worker = async () => {
    for (let name = together.shift(); name !== undefined; name = together.shift())
      await runGroup(name);
  };
  const workers = Math.max(1, Math.floor(availableParallelism() / 2));
  await Promise.all(Array.from({ length: workers }, worker));
  for (const name of wanted) if (groups[name].alone) await runGroup(name);
  if (device === 'cpu') console.log('on the CPU: this says nothing of a GPU');
  console.log(`${total.passed} passed, ${total.failed} failed`);
  process.exitCode = total.failed > 0 || total.passed === 0 ? 1 : 0;
}

await main(process.argv.slice(2));
