// A process that trains until something ends it. Its argument is JSON: see the destructuring.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { start } from './support.mjs';

const { kind, dir, everySteps, resumeFrom, killAfter, killOn, exitOnSigterm, announce } =
  JSON.parse(process.argv[2] ?? '{}');
const { data, fit, trainer } = start(kind);
const onBatchEnd = async (step) => {
  if (step === announce) process.stdout.write('ready\n');
  if (step !== killAfter) return;
  const file = join(dir, `step-${String(killOn).padStart(9, '0')}.safetensors`);
  while (!existsSync(file)) await wait(1);
  process.kill(process.pid, 'SIGKILL');
};
const callbacks = killAfter === undefined && announce === undefined ? [] : [{ onBatchEnd }];
await trainer.fit(data, {
  ...fit,
  epochs: 1_000_000,
  checkpoint: { dir, everySteps },
  callbacks,
  resumeFrom,
  exitOnSigterm,
});
