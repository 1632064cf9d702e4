// What the suites are to show, beside what their saved results say: the table at the head of
// docs/performance.md.

/** @typedef {import('./results.mjs').Results} Results */

/**
 * @typedef {object} Target
 * @property {string} work
 * @property {string} measure
 * @property {number} wanted
 * @property {boolean} [atMost] smaller is better
 * @property {string} suite
 * @property {(one: any) => boolean} is which cases it means
 * @property {(one: any) => number | undefined} read
 */

/** The side of a cube of a product, or 0. */
const cube = ({ group, name }) =>
  group === 'product' ? Number(/^(\d+)x\1x\1 /.exec(name)?.[1] ?? 0) : 0;
const named = (/** @type {string} */ start) => (/** @type {any} */ one) =>
  one.name.startsWith(start);
const roof = (/** @type {any} */ { roofShare }) => roofShare;
const by =
  (/** @type {string} */ peer) =>
  (/** @type {any} */ { peers }) =>
    peers?.[peer]?.ratio;
const byBest = ({ peers = {} }) =>
  Math.min(...Object.values(peers).map(({ ratio }) => ratio ?? Number.POSITIVE_INFINITY));
const small = ({ group, name, threads }) =>
  group === 'product' && threads === 1 && /^(64x64x64|64x32x64) /.test(name);
const oneRow = (/** @type {string} */ type) => (/** @type {any} */ one) =>
  named('784-512-256-10 x1')(one) &&
  !/x1\d/.test(one.name) &&
  one.type === type &&
  one.threads === 2;

/** @type {(work: string, suite: string, is: Target['is'], wanted: [string, number, Target['read']][]) => Target[]} */
const targets = (work, suite, is, wanted) =>
  wanted.map(([measure, least, read]) => ({ work, measure, wanted: least, suite, is, read }));

/** @type {Target[]} */
const all = [
  ...['f32', 'bf16'].flatMap((type) =>
    targets(
      `products of 256³ and more, ${type}`,
      'native',
      (one) => cube(one) >= 256 && one.type === type,
      [
        ['of the roof', 0.96, roof],
        ['by oneDNN', 0.97, by('onednn')],
        .../** @type {[string, number, Target['read']][]} */ (
          type === 'f32' ? [['by OpenBLAS', 1.08, by('openblas')]] : []
        ),
      ],
    ),
  ),
  ...targets(
    'products of 512³ and more, int8, requantized',
    'native',
    (one) => cube(one) >= 512 && one.type === 's8',
    [
      ['of the roof', 0.95, roof],
      ['by oneDNN', 0.97, by('onednn')],
    ],
  ),
  ...targets(
    '64³ and 64x32x64, one thread, f32',
    'native',
    (one) => small(one) && one.type === 'f32',
    [['by the best peer', 1, byBest]],
  ),
  ...targets(
    '64³ and 64x32x64, one thread, int8',
    'native',
    (one) => small(one) && one.type === 's8',
    [['by oneDNN', 1.3, by('onednn')]],
  ),
  ...targets('one row through 784-512-256-10, two threads, f32', 'native', oneRow('f32'), [
    ['by oneDNN', 1.25, by('onednn')],
  ]),
  ...targets('one row through 784-512-256-10, two threads, int8', 'native', oneRow('s8'), [
    ['by oneDNN', 1.5, by('onednn')],
  ]),
  ...targets(
    'products of 256³ and more, f32, AVX2',
    'native-avx2',
    (one) => cube(one) >= 256 && one.type === 'f32',
    [['of the roof', 0.9, roof]],
  ),
  ...Object.entries({ 128: 1.5, 1024: 1.15, 8: 3 }).map(([batch, wanted]) => ({
    work: `training 784-512-256-10, batch ${batch}`,
    measure: 'by PyTorch',
    wanted,
    suite: 'train',
    is: (one) => named(`MLP 784-512-256-10 b${batch},`)(one) && one.call !== 'mixed',
    read: by('PyTorch'),
  })),
  ...targets(
    'training 30-64-32-2, batch 32',
    'train',
    (one) => named('MLP 30-64-32-2 b32,')(one) && one.call !== 'mixed',
    [['by PyTorch', 12, by('PyTorch')]],
  ),
  ...Object.entries({
    'MLP 30-64-32-2 x1,': 6,
    'MLP 784-512-256-10 x1,': 2,
    'MLP 784-512-256-10 x256,': 1.05,
  }).map(([start, wanted]) => ({
    work: `predicting ${start.slice(4, -1)} from JavaScript`,
    measure: 'by onnxruntime-node',
    wanted,
    suite: 'predict',
    is: named(start),
    read: by('onnxruntime-node'),
  })),
  ...['L1', 'L2', 'memory'].flatMap((place) =>
    targets(`AdamW, ${place}`, 'native', named(`adamw, ${place}`), [['of the roof', 0.9, roof]]),
  ),
  ...Object.entries({ 'CNN 28x28 b64': 2.2, 'GPT 4x128 b12': 1.6, 'GPT 6x384 b8': 1.2 }).flatMap(
    ([name, wanted]) =>
      targets(
        `training ${name.replace(' b', ', batch ')}`,
        'train',
        (one) => named(`${name},`)(one) && one.call !== 'mixed',
        [['by PyTorch', wanted, by('PyTorch')]],
      ),
  ),
  ...['GPT 4x128 b12', 'GPT 6x384 b8'].flatMap((name) =>
    targets(
      `training ${name.replace(' b', ', batch ')}, bf16-mixed`,
      'train',
      (one) => named(`${name},`)(one) && one.call === 'mixed',
      [['by our float32', 1.5, ({ byFloat32 }) => byFloat32]],
    ),
  ),
  ...Object.entries({
    'MLP 784-512-256-10 x1, float32': 2,
    'MLP 784-512-256-10 x1, int8': 2.5,
    'MLP 784-512-256-10 x256, float32': 1.05,
    'MLP 784-512-256-10 x256, int8': 1.3,
    'CNN 28x28 x1, float32': 1.4,
    'CNN 28x28 x1, int8': 1.4,
    'CNN 28x28 x64, float32': 1,
    'CNN 28x28 x64, int8': 1,
    'encoder 6x384, 128 tokens x1, float32': 1.15,
    'encoder 6x384, 128 tokens x1, int8': 1.4,
  }).flatMap(([name, wanted]) =>
    targets(`predicting ${name}, bound`, 'quantized', named(name), [
      ['by onnxruntime-node', wanted, by('onnxruntime-node')],
    ]),
  ),
  ...targets('decoding a GPT of 256 tokens', 'generate', named('gpt, context 256, one'), [
    ['by computing all anew', 10, ({ overRecompute }) => overRecompute],
  ]),
  ...targets('decoding 16 sequences together', 'generate', named('gpt, context 256, sixteen'), [
    ['by one alone', 3, ({ overOne }) => overOne],
  ]),
  ...Object.entries({
    '300 MB from the cache to the first prediction': 150,
    '300 MB of bytes to the first prediction': 150,
    'digits model to the first prediction': 5,
    'RSS of 300 MB by its weights': 1.15,
    'RSS of 300 MB of bytes': 1.15,
    'RSS of 8 workers by that of one': 1.2,
    'event loop with 10,000 calls, p99': 5,
    'the same with a queue, p99': 5,
  }).map(([name, wanted]) => ({
    work: name === 'the same with a queue, p99' ? 'event loop with a queue of them, p99' : name,
    measure: /RSS/.test(name) ? 'times' : 'ms',
    wanted,
    atMost: true,
    suite: 'serving',
    is: named(name),
    read: ({ value }) => value,
  })),
];

const round = (/** @type {number} */ value) => Number(value.toPrecision(3));

/**
 * A row for each target: what is wanted, and for each machine from the lowest to the highest of what was
 * measured, and how many of its cases reach it; blanks where nothing was measured.
 * @param {((suite: string) => Results | undefined)[]} machines
 * @returns {string[][]}
 */
export const targetRows = (machines) =>
  all.map((target) => {
    const { work, measure, wanted, atMost, suite } = target;
    const found = machines.flatMap((resultsOf) => foundOf(target, resultsOf(suite)));
    return [work, measure, atMost ? `at most ${wanted}` : String(wanted), ...found];
  });

/** @param {Target} target  @param {Results | undefined} results */
function foundOf({ wanted, atMost = false, is, read }, results) {
  const found = (results?.results ?? [])
    .filter(is)
    .map((one) => read(one) ?? Number.NaN)
    .filter(Number.isFinite);
  if (found.length === 0) return ['', ''];
  const reached = found.filter((value) => (atMost ? value <= wanted : value >= wanted)).length;
  const range = [...new Set([Math.min(...found), Math.max(...found)].map(round))];
  return [range.join(' to '), `${reached} of ${found.length}`];
}
