// A process that trains until something ends it. Its argument is JSON: see the destructuring.
import { existsSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { start } from './support.mjs';

const { kind, dir, everySteps, resumeFrom, killAfter, killOn, kill, exitOnSigterm, announce } =
  JSON.parse(process.argv[2] ?? '{}');

/**
 * Ends the process in the middle of writing checkpoint number `checkpoint`, from 1, after about this share
 * of the writes that the one before took.
 */
async function killWriting({ checkpoint, share }) {
  const file = await open(fileURLToPath(import.meta.url));
  const handles = Object.getPrototypeOf(file);
  await file.close();
  const { write } = handles;
  let current;
  let [number, writes, before] = [-1, 0, 0];
  handles.write = async function (buffer, offset, length) {
    if (current !== this) {
      current = this;
      number++;
      before = writes;
      writes = 0;
    }
    if (number < checkpoint || writes < Math.floor(share * before)) {
      writes++;
      return await write.call(this, buffer, offset, length);
    }
    await write.call(this, buffer, offset, Math.ceil(length / 2));
    process.kill(process.pid, 'SIGKILL');
    return await new Promise(() => {});
  };
}

if (kill !== undefined) await killWriting(kill);
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
