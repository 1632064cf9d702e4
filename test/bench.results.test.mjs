// What bench/ keeps of its runs, and the tables and targets that are made of that.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { arch, platform, tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import test from 'ava';
import { machinesOf, pageOf } from '../bench/lib/machines.mjs';
import {
  describeMachine,
  keyOf,
  readResults,
  refuseOtherMachine,
  saveResults,
  slugOf,
} from '../bench/lib/results.mjs';
import { tables, targetTable } from '../bench/lib/tables.mjs';

/** A folder for results, gone after the test. */
function folderFor(t) {
  const path = mkdtempSync(join(tmpdir(), 'tandem-results-'));
  t.teardown(() => rmSync(path, { recursive: true }));
  return pathToFileURL(`${path}/`);
}

const machine = { cpu: 'A Processor', isa: 'avx512' };
const reader = [
  { name: 'reader alone', value: 380, unit: 'MB/s' },
  { name: 'reader alone', value: 2555055, unit: 'rows/s' },
];
const product = (threads, value) => ({
  ...{ group: 'product', name: '256x256x256 ', type: 'f32', isa: 'avx512' },
  ...{ threads, value, unit: 'GFLOP/s' },
});

/** Saves runs one after the other and gives what is there then. */
function after(t, runs) {
  const folder = folderFor(t);
  for (const [command, results, more = machine, complete = true] of runs) {
    saveResults('native', command, results, more, { complete, folder });
  }
  const found = readResults(folder);
  t.is(found.length, 1);
  return found[0];
}

const numbered = platform() === 'linux' && arch() === 'x64' ? test : test.skip;
numbered('processors that go by one name are told apart', (t) => {
  t.regex(describeMachine().cpu, /\S \(family \d+, model \d+\)$/);
  t.regex(slugOf(describeMachine()), /-family-\d+-model-\d+$/);
});

test('a run of all cases takes the place of the last one', (t) => {
  const found = after(t, [
    ['node bench/native.mjs --save', [product(1, 10), product(2, 20)]],
    ['node bench/native.mjs --rounds 5 --save', [product(1, 11)]],
  ]);
  t.deepEqual(found.results, [product(1, 11)]);
  t.is(found.command, 'node bench/native.mjs --rounds 5 --save');
});

for (const option of ['--filter 256', '--filter=256', '--threads 1']) {
  test(`what a run with ${option} leaves out stays`, (t) => {
    const command = `node bench/native.mjs ${option} --save`;
    const found = after(t, [
      ['node bench/native.mjs --save', [product(1, 10), product(2, 20)]],
      [command, [product(1, 11)]],
    ]);
    t.deepEqual(
      found.results.map(({ threads, value, from }) => [threads, value, from?.command]),
      [
        [1, 11, command],
        [2, 20, undefined],
      ],
    );
    t.is(found.command, 'node bench/native.mjs --save');
  });
}

test('what a run did not come to stays', (t) => {
  const command = 'node bench/gpu.mjs --budget 9 --save';
  const found = after(t, [
    ['node bench/gpu.mjs --save', [product(1, 10), product(2, 20)]],
    [command, [product(2, 21)], machine, false],
  ]);
  t.deepEqual(
    found.results.map(({ value }) => value),
    [10, 21],
  );
});

test('machines have files of their own, named by their GPU or their processor', (t) => {
  const folder = folderFor(t);
  const save = (suite, command, value, more) =>
    saveResults(suite, command, [product(1, value)], more, { folder });
  const xeon = { cpu: 'Intel(R) Xeon(R) Gold 6430 CPU @ 2.10GHz', isa: 'avx512' };
  save('native', 'node bench/native.mjs --save', 10, machine);
  save('native', 'node bench/native.mjs --save', 20, xeon);
  save('native-avx2', 'node bench/native.mjs --isa avx2 --save', 5, { ...machine, isa: 'avx2' });
  save('gpu', 'node bench/gpu.mjs --save', 99, { ...xeon, gpu: 'NVIDIA H100 80GB HBM3' });
  save('native', 'node bench/native.mjs --filter 256 --save', 21, xeon);
  t.deepEqual(readdirSync(folder).sort(), [
    'gpu-nvidia-h100-80gb-hbm3.json',
    'native-a-processor.json',
    'native-avx2-a-processor.json',
    'native-intel-xeon-gold-6430-cpu.json',
  ]);
  t.deepEqual(
    readResults(folder).map(({ suite, results }) => [suite, results[0].value]),
    [
      ['gpu', 99],
      ['native', 10],
      ['native-avx2', 5],
      ['native', 21],
    ],
  );
});

test('what other versions have measured stays until a run has come to all its cases', (t) => {
  const all = [product(1, 10), product(2, 20)];
  const other = { ...machine, node: 'v1.2.3' };
  const begun = ['node bench/gpu.mjs --save', [product(1, 11)], other, false];
  const values = ({ results }) => results.map(({ value }) => value);
  t.deepEqual(values(after(t, [['node bench/gpu.mjs --save', all], begun])), [10, 20]);
  const whole = ['node bench/gpu.mjs --save', [product(1, 11), product(2, 21)], other, true];
  t.deepEqual(values(after(t, [['node bench/gpu.mjs --save', all], begun, whole])), [11, 21]);
});

test('another machine of the same name is refused, before it measures and when it saves', (t) => {
  const folder = folderFor(t);
  const command = 'node bench/native.mjs --save';
  const { cores } = describeMachine();
  const save = (suite, more) => saveResults(suite, command, [product(1, 10)], more, { folder });
  refuseOtherMachine('native', machine, new URL('nothing/', folder));
  save('native', machine);
  save('native-avx2', { ...machine, isa: 'avx2' });
  const others = [{ cores: cores + 1 }, { isa: 'avx2' }, { extensions: ['vnni'] }];
  for (const suite of ['native', 'train']) {
    refuseOtherMachine(suite, { ...machine, node: 'v1.2.3' }, folder);
    for (const other of others) {
      const message = /expected the machine of the saved results.* in native.*-a-processor\.json/;
      t.throws(() => refuseOtherMachine(suite, { ...machine, ...other }, folder), { message });
      t.throws(() => save(suite, { ...machine, ...other }), { message });
    }
  }
  refuseOtherMachine('native-avx2', { ...machine, isa: 'avx2' }, folder);
  t.throws(() => refuseOtherMachine('native-avx2', { ...machine, cores: cores + 1 }, folder));
  refuseOtherMachine('gpu', { ...machine, cores: cores + 1, gpu: 'G' }, folder);
  t.deepEqual(
    readResults(folder).map(({ machine: { isa } }) => isa),
    ['avx512', 'avx2'],
  );
});

test('cases that differ in their unit alone stay apart', (t) => {
  const found = after(t, [
    ['node bench/data.mjs --save', reader],
    ['node bench/data.mjs --filter reader --save', [{ ...reader[1], value: 3 }]],
  ]);
  t.deepEqual(
    found.results.map(({ value, unit }) => [value, unit]),
    [
      [380, 'MB/s'],
      [3, 'rows/s'],
    ],
  );
});

test('short runs are not saved, nor a part of a run of another machine', (t) => {
  const folder = folderFor(t);
  const save = (command, more = machine) =>
    saveResults('native', command, [product(1, 10)], more, { folder });
  t.throws(() => save('node bench/native.mjs --quick --save'), { message: /without --quick/ });
  t.deepEqual(readResults(folder), []);
  save('node bench/native.mjs --save');
  t.throws(() => save('node bench/native.mjs --threads 1 --save', { ...machine, isa: 'avx2' }), {
    message: /expected the machine of the saved results/,
  });
  t.is(readResults(folder)[0].machine.isa, 'avx512');
});

test('no two saved cases are the same', (t) => {
  const folder = new URL('../bench/results/', import.meta.url);
  for (const file of readdirSync(folder)) {
    const { suite, machine, results } = JSON.parse(readFileSync(new URL(file, folder), 'utf8'));
    t.is(file, `${suite}-${slugOf(machine)}.json`);
    const keys = results.map(keyOf);
    t.deepEqual(
      keys.filter((key, i) => keys.indexOf(key) !== i),
      [],
      file,
    );
  }
});

const head = {
  ...{ suite: 'x', date: '2030-01-02', command: 'node bench/x.mjs --save' },
  machine: { cpu: 'a processor', cores: 2, node: 'v20.1.0', isa: 'avx2' },
};
const from = { date: '2030-01-03', command: 'node bench/x.mjs --filter one --save' };

test('a table says which runs its rows come from, and no others', (t) => {
  const origin = (results) => tables.serving({ ...head, results }).split('\n')[0];
  const [one, two] = ['one', 'two'].map((name) => ({ name, value: 1, unit: 'ms' }));
  t.is(
    origin([{ ...one, from }, two]),
    'a processor, 2 cores, avx2, Node 20.1.0; 2030-01-02, `node bench/x.mjs --save`; ' +
      '2030-01-03, `node bench/x.mjs --filter one --save`.',
  );
  t.is(
    origin([{ ...one, from }]),
    'a processor, 2 cores, avx2, Node 20.1.0; 2030-01-03, `node bench/x.mjs --filter one --save`.',
  );
});

test('a description of a processor says what kernels use of it', (t) => {
  const described = (more) => {
    const results = {
      ...head,
      suite: 'serving',
      machine: { ...head.machine, ...more },
      results: [],
    };
    return machinesOf([results])[0].description;
  };
  t.is(described({}), 'a processor, 2 cores, avx2');
  t.is(described({ extensions: [] }), 'a processor, 2 cores, avx2');
  const isa = 'avx512';
  const [vnni, amx] = ['avx512_vnni', 'amx_int8'];
  t.is(described({ isa, extensions: [] }), 'a processor, 2 cores, avx512 (no AMX)');
  t.is(
    described({ isa, extensions: [vnni], cores: 1 }),
    'a processor, 1 core, avx512 (avx512_vnni; no AMX)',
  );
  t.is(
    described({ isa, extensions: [amx, vnni] }),
    'a processor, 2 cores, avx512 (amx_int8, avx512_vnni)',
  );
});

test('each machine has a page of its suites, those of GPUs aside', (t) => {
  const one = (suite, value, more) => ({
    ...head,
    ...{ suite, machine: { ...head.machine, ...more } },
    results: [{ name: 'one', value, unit: 'ms' }],
  });
  const machines = machinesOf([
    one('generate', 1, {}),
    one('native-avx2', 2, { cpu: 'Intel(R) B' }),
    one('serving', 3, { cpu: 'Intel(R) B', isa: 'avx512' }),
    one('serving', 4, {}),
    one('gpu', 5, { gpu: 'G' }),
  ]);
  t.deepEqual(
    machines.map(({ name, description, page }) => [name, description, page]),
    [
      ['a processor', 'a processor, 2 cores, avx2', 'performance-a-processor.md'],
      ['Intel B', 'Intel B, 2 cores, avx512', 'performance-intel-b.md'],
    ],
  );
  const lines = pageOf(machines[0]).split('\n');
  t.is(lines[0], '# Performance on a processor, 2 cores, avx2');
  t.deepEqual(
    lines.filter((line) => /^##|^\| one/.test(line)),
    ['## Serving', '| one | 4 | ms |', '## Generation', '| one | 1 | ms |'],
  );
});

test('loads are shown with their rates, which are no part of their names', (t) => {
  const load = {
    ...{ name: 'MLP x1, 50 % of our capacity', rate: 1234.56, share: 0.5, unit: 'us' },
    ...{ value: 30.04, p99: 300, p999: 3000 },
    peers: { 'onnxruntime-node': { value: null, p99: null, p999: null } },
  };
  t.is(
    tables
      .load({ ...head, results: [load] })
      .split('\n')
      .at(-1),
    '| MLP x1, 50 % of our capacity | 1235 | 50 % | 30 / 300 / 3000 | beyond its capacity |',
  );
});

test('tables of what is learnt and of metrics have a row for each case', (t) => {
  const peers = { PyTorch: { value: 37.3, ratio: 0.979 } };
  const last = (suite, result) =>
    tables[suite]({ ...head, suite, results: [result] })
      .split('\n')
      .at(-1);
  t.is(
    last('bike', { name: 'mlp, seed 1', value: 38.1, unit: 'rentals an hour', peers }),
    '| mlp, seed 1 | 38.1 | 37.3 | 0.979 |',
  );
  const mixed = { name: 'mnist-cnn, mean of 13', precision: 'bf16-mixed', value: 0.0263 };
  t.is(
    last('precision', { ...mixed, byFloat32: 1.026, unit: 'validation loss', peers: {} }),
    '| mnist-cnn, mean of 13 | bf16-mixed | 0.0263 | 1.026 |',
  );
  const bytes = { name: 'GPT, perplexity', precision: 'int8', value: 5.5041, unit: 'perplexity' };
  t.is(
    last('accuracy', { ...bytes, change: 0.00023, memory: 0.27, peers: {} }),
    '| GPT, perplexity | int8 | 5.504 | +0.023 % | 0.27 |',
  );
  t.is(
    last('metrics', { name: 'f1', value: 0.51, unit: 'ms a step', costPercent: 2.5, peers: {} }),
    '| f1 | 0.51 | +2.5 % |',
  );
});

test('a native table has a row for each case and columns for each number of threads', (t) => {
  const cases = [
    { ...product(1, 100), roofShare: 0.85 },
    { ...product(2, 190), roofShare: 0.8, peers: { onednn: { ratio: 1.05 } } },
  ];
  const lines = tables.native({ ...head, suite: 'native', results: cases }).split('\n');
  t.is(lines.at(-5), '### product');
  t.is(
    lines.at(-3),
    '| case | type | isa | unit | 1t | of the roof | by oneDNN | 2t | of the roof | by oneDNN |',
  );
  t.is(
    lines.at(-1),
    '| 256x256x256  | f32 | avx512 | GFLOP/s | 100 | 85 % | - | 190 | 80 % | 1.05 |',
  );
});

test('targets count the cases that reach them', (t) => {
  const name = 'digits model to the first prediction';
  const digits = (value) => ({ name, value, unit: 'ms' });
  const results = {
    native: [
      { ...product(1, 100), roofShare: 0.97, peers: { onednn: { ratio: 0.9 } } },
      { ...product(2, 190), roofShare: 0.5, peers: { onednn: { ratio: 1.25 } } },
      { ...product(1, 100), name: '64x64x64 ', roofShare: 0.1 },
    ],
    serving: [digits(5.25)],
  };
  const machines = [
    { name: 'A', resultsOf: (suite) => ({ ...head, suite, results: results[suite] ?? [] }) },
    { name: 'B', resultsOf: (suite) => suite === 'serving' && { ...head, results: [digits(4)] } },
  ];
  const lines = targetTable(machines).split('\n');
  t.is(lines[0], '| work | measured | wanted | found, A | cases | found, B | cases |');
  const row = (start) => lines.find((line) => line.startsWith(`| ${start} |`));
  t.is(
    row('products of 256³ and more, f32 | of the roof'),
    '| products of 256³ and more, f32 | of the roof | 0.96 | 0.5 to 0.97 | 1 of 2 |  |  |',
  );
  t.is(
    row('products of 256³ and more, f32 | by oneDNN'),
    '| products of 256³ and more, f32 | by oneDNN | 0.97 | 0.9 to 1.25 | 1 of 2 |  |  |',
  );
  t.is(
    row('digits model to the first prediction | ms'),
    '| digits model to the first prediction | ms | at most 5 | 5.25 | 0 of 1 | 4 | 1 of 1 |',
  );
  t.is(
    row('products of 256³ and more, bf16 | of the roof'),
    '| products of 256³ and more, bf16 | of the roof | 0.96 |  |  |  |  |',
  );
});
