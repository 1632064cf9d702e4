// PyTorch beside the cases of bench/gpu.mjs: one process for what runs at once, and one for each case that
// has something to compile, as many of these at one time as there are cores for.
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { startAsked } from '../lib/asked.mjs';

/**
 * @typedef {import('../lib/gpu-cases.mjs').GpuCase} GpuCase
 * @typedef {import('../lib/gpu-cases.mjs').Peer} Peer
 * @typedef {import('../lib/asked.mjs').Asked} Asked
 * @typedef {{ p50: number, p99: number, flow: number, cpu: number }} PeerTime
 * @typedef {{ peer: Peer, measure: (seconds: number) => Promise<PeerTime> }} PeerSide
 */

/** Cores for each process that compiles. */
const coresOfCompiler = 4;
const script = fileURLToPath(new URL('torch_device.py', import.meta.url));
const isCompiled = ({ mode }) => mode === 'compile' || mode === 'reduce-overhead';
const keyOf = (/** @type {GpuCase} */ { name }, /** @type {Peer} */ { precision, mode }) =>
  `${name}: ${precision} ${mode}`;

/** @param {GpuCase} work  @param {Peer} peer */
const requestOf = (work, peer) => ({
  ...{ op: 'prepare', key: keyOf(work, peer), task: work.task, model: work.torch },
  ...{ batch: work.batch, ...peer },
});

/**
 * @param {object} options
 * @param {'cuda' | 'cpu'} options.device
 * @param {string} options.python
 * @param {(note: string) => void} options.note
 */
export async function openTorch({ device, python, note }) {
  const start = (threads = 1) => startAsked(python, [script, device, `${threads}`], 90_000);
  let plain = await start();
  if (typeof plain === 'string') {
    note(`no PyTorch: ${plain}`);
    return undefined;
  }
  const { version, device: described } = plain.hello;

  /** What compiled, by key; the process that holds it. @type {Map<string, Asked>} */
  const ready = new Map();
  /** By the name of the case. @type {Map<string, Asked>} */
  const compilers = new Map();
  /** Whether the time to compile is over. */
  let isOver = false;

  async function compileCase(/** @type {GpuCase} */ work) {
    const { name, large } = work;
    const process = await start(large ? 4 : 1);
    if (typeof process === 'string') {
      note(`PyTorch, ${name}: ${process}`);
      return;
    }
    if (isOver) {
      await process.end();
      return;
    }
    compilers.set(name, process);
    for (const peer of work.peers.filter(isCompiled)) {
      const { error } = await process.ask(requestOf(work, peer), 600_000);
      if (!compilers.has(name)) return;
      if (error) note(`PyTorch, ${keyOf(work, peer)}: ${error}`);
      else ready.set(keyOf(work, peer), process);
    }
  }

  /** @param {GpuCase} work  @param {Peer} peer  @param {Asked} process */
  const sideOf = (work, peer, process) => ({
    peer,
    measure: async (/** @type {number} */ seconds) => {
      const request = { op: 'measure', key: keyOf(work, peer), seconds };
      const found = await process.ask(request, 30_000 + 20_000 * seconds);
      if (found.error) throw new Error(found.error);
      return found;
    },
  });

  return {
    /** @type {string} */
    version,
    /** @type {string} */
    device: described,

    /**
     * Compiles what is to be compiled of these, for so long. A process that is not done then ends, so that
     * nothing disturbs what is measured; what others compiled stays.
     * @param {GpuCase[]} cases
     * @param {number} milliseconds
     */
    async compile(cases, milliseconds) {
      const asked = cases.filter(({ peers }) => peers.some(isCompiled));
      const compiling = new Set(asked.map(({ name }) => name));
      const next = asked.values();
      // in turn, the most telling first: compilers that share a processor would all be late
      const compileInTurn = async () => {
        for (const work of next) {
          if (isOver) return;
          await compileCase(work);
          compiling.delete(work.name);
        }
      };
      const turns = Math.max(1, Math.floor(availableParallelism() / coresOfCompiler));
      const all = Promise.all(Array.from({ length: turns }, compileInTurn));
      /** @type {NodeJS.Timeout | undefined} */
      let timer;
      const late = new Promise((resolve) => {
        timer = setTimeout(resolve, milliseconds);
      });
      await Promise.race([all, late]);
      clearTimeout(timer);
      isOver = true;
      for (const name of compiling) {
        note(`PyTorch, ${name}: did not compile within ${Math.round(milliseconds / 1000)} s`);
        const process = compilers.get(name);
        compilers.delete(name);
        await process?.end();
        for (const [key, of] of ready) if (of === process) ready.delete(key);
      }
    },

    /**
     * The sides of a case by name, the plain ones prepared now.
     * @param {GpuCase} work
     */
    async sides(work) {
      /** @type {Record<string, PeerSide>} */
      const sides = {};
      for (const peer of work.peers) {
        const key = keyOf(work, peer);
        const name = `PyTorch ${peer.precision} ${peer.mode}`;
        if (isCompiled(peer)) {
          const process = ready.get(key);
          if (process) sides[name] = sideOf(work, peer, process);
          continue;
        }
        if (device === 'cpu' && peer.mode === 'graph') continue;
        if (typeof plain === 'string' || plain.ended) plain = await start();
        if (typeof plain === 'string') {
          note(`PyTorch: ${plain}`);
          continue;
        }
        const { error } = await plain.ask(requestOf(work, peer), 90_000);
        if (error) note(`PyTorch, ${key}: ${error}`);
        else sides[name] = sideOf(work, peer, plain);
      }
      return sides;
    },

    /** Frees the memory of a case. @param {GpuCase} work */
    async drop(work) {
      await compilers.get(work.name)?.end();
      compilers.delete(work.name);
      for (const peer of work.peers) {
        const key = keyOf(work, peer);
        ready.delete(key);
        if (!isCompiled(peer) && typeof plain !== 'string' && !plain.ended) {
          await plain.ask({ op: 'drop', key }, 20_000);
        }
      }
    },

    async close() {
      for (const process of compilers.values()) await process.end();
      if (typeof plain !== 'string') await plain.end();
    },
  };
}
