// Loaded before an example (--import): for every Trainer that is closed, one JSON line on file
// descriptor 3 with what profile() says, with what the process shrinks by, and with what the engine
// counts. A trainer keeps what it allocates until then, so that is its peak; growth would count the heap
// of JavaScript, too.
import { readFileSync, writeSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { Trainer } from 'tandem-ml';
import { native } from '../../dist/native.js';

const { close } = Trainer.prototype;
/** Closed trainers, whose parameters are the model's and not to be freed with the rest. */
const kept = [];

/** Bytes of the process that are in memory and belong to no file. */
function resident() {
  const kilobytes = /^RssAnon:\s+(\d+) kB/m.exec(readFileSync('/proc/self/status', 'utf8'));
  return 1024 * Number(kilobytes?.[1]);
}

async function collectGarbage() {
  for (let i = 0; i < 3; i++) {
    globalThis.gc?.();
    await setTimeout(100); // arrays are freed on a thread of their own
  }
}

Trainer.prototype.close = async function watchedClose() {
  kept.push(this.model);
  const { memory } = this.profile();
  await collectGarbage();
  const before = resident();
  const { blocks, scratch } = native.heldMemory();
  await close.call(this);
  await collectGarbage();
  const measured = before - resident() + memory.parameters;
  // Scratch memory is the threads' own and stays.
  const counted = blocks - native.heldMemory().blocks + scratch + memory.parameters;
  writeSync(3, `${JSON.stringify({ measured, counted, memory })}\n`);
};
