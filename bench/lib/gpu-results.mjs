// What bench/gpu.mjs says of a case, from the times of all its sides.
import { beside, median, summary } from './measure.mjs';

/**
 * Milliseconds of a call, of the processor in it, and of PyTorch's calls that wait for nothing.
 * @typedef {import('./measure.mjs').Time & { cpu: number, flow?: number }} Measured
 * @typedef {import('./gpu-cases.mjs').GpuCase} GpuCase
 * @typedef {import('./gpu-cases.mjs').Peer} Peer
 */

/**
 * A result for each of our sides, in microseconds, beside PyTorch's sides of the same precision; 8-bit
 * integers beside those of 16-bit floats. Where ours gave nothing, one for each of PyTorch's.
 * @param {GpuCase} work
 * @param {Record<string, Measured[]>} times by side, of ours and of PyTorch's
 * @param {Record<string, { peer: Peer }>} peers
 * @param {Record<string, object>} profiles of ours, by precision
 */
export function resultsOf(work, times, peers, profiles) {
  const measured = Object.keys(times).filter((name) => times[name].length > 0);
  const ours = measured.filter((name) => !(name in peers));
  if (ours.length === 0) return measured.map((name) => peerResult(work, name, times[name], peers));
  return ours.map((name) => {
    const [precision, call] = work.task === 'train' ? [work.precisions[0], name] : name.split(' ');
    const modes = modesOf(precision, call, times, peers);
    const cpu = Object.fromEntries(Object.entries(modes).map(([mode, of]) => [mode, cpuOf(of)]));
    const time = scaled(times[name], false);
    const found = beside(time, modes);
    const float32 = precision === 'float32' ? undefined : times[`float32 ${call}`];
    return {
      ...{ name: `${work.name}, ${name}`, workload: work.name, batch: work.batch, precision, call },
      ...{ ...summary(time), unit: 'us', cpu: cpuOf(time), rounds: time.length },
      ...tokensOf(work, summary(time).value),
      ...(float32 && { byFloat32: byRounds(float32, times[name]) }),
      peers: found ? { PyTorch: { ...found, cpu, ...tokensOf(work, found.value) } } : {},
      profile: profiles[precision],
    };
  });
}

/** PyTorch's times that stand beside one of our sides, by mode. */
function modesOf(precision, call, times, peers) {
  const against = precision === 'int8' ? ['bfloat16', 'float16'] : [precision];
  /** @type {Record<string, Measured[]>} */
  const modes = {};
  for (const [name, { peer }] of Object.entries(peers)) {
    if (!times[name]?.length || !against.includes(peer.precision)) continue;
    const mode = against.length > 1 ? `${peer.mode} ${peer.precision}` : peer.mode;
    modes[mode] = scaled(times[name], call === 'fit');
  }
  return modes;
}

/** @param {GpuCase} work  @param {string} name  @param {Measured[]} times */
function peerResult(work, name, times, peers) {
  const time = scaled(times, work.task === 'train');
  const { value, p99, best } = summary(time);
  return {
    ...{
      name: `${work.name}, ${name}`,
      workload: work.name,
      batch: work.batch,
      ...peers[name].peer,
    },
    ...{ value, p99, best, unit: 'us', cpu: cpuOf(time), rounds: time.length },
    ...{ ...tokensOf(work, value), peers: {}, onlyPeer: true },
  };
}

/** @param {Measured[]} times */
function cpuOf(times) {
  return median(times.map(({ cpu }) => cpu));
}

/** How many times as long the first side takes, round by round. */
function byRounds(side, other) {
  const both = Math.min(side.length, other.length);
  return median(other.slice(0, both).map(({ p50 }, i) => side[i].p50 / p50));
}

/** Microseconds. @param {Measured[]} times  @param {boolean} flow of calls that wait for nothing */
function scaled(times, flow) {
  return times.map((time) => ({
    p50: 1000 * (flow ? (time.flow ?? time.p50) : time.p50),
    p99: flow || time.p99 === null ? null : 1000 * time.p99,
    cpu: 1000 * time.cpu,
  }));
}

/** @param {GpuCase} work  @param {number} us */
function tokensOf({ tokens }, us) {
  return tokens === undefined ? {} : { tokensPerSecond: (1e6 * tokens) / us };
}
