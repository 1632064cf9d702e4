// The published types, as consumers with their own settings compile them.
import { execFile } from 'node:child_process';
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { makeFolder } from './helpers/folder.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));

const source = `
import {
  abs, crossValidate, dense, earlyStopping, functional, input, max, Model, metrics, mse, Predictor, search, sequential, space, sub, TandemError,
  Trainer, type Metric, type RowOptions, type RowPrediction, type RowProbabilities, type Value,
} from 'tandem-ml';
import { evaluate } from 'tandem-ml/autodiff';
import { csv, cyclic, fitEncoder, type RowEncodings } from 'tandem-ml/data';

export async function encode(given: RowEncodings): Promise<number> {
  const table = csv('x.csv');
  const one = await fitEncoder(table, { x: { hour: cyclic({ period: 24 }), sky: 'oneHot' }, y: { n: 'number' } });
  const several = await fitEncoder(table, { x: { a: { hour: 'number' }, b: { sky: 'oneHot' } }, y: { n: 'number' } });
  const any = await fitEncoder(table, given);
  const { a, b } = several.width;
  sequential([dense(1)], { input: [one.width] });
  await new Trainer(sequential([dense(1)], { input: [a + b] }), { loss: 'mse' }).fit(one.encode(table));
  return Number(any.width);
}

export async function rows(predictor: Predictor, options: RowOptions): Promise<number> {
  const values: RowPrediction[] = await predictor.predictRows([{ a: 1 }], { probabilities: false });
  const [first] = await predictor.predictRows([{ a: 1 }], { probabilities: true });
  const either: (RowPrediction | RowProbabilities)[] = await predictor.predictRows([{ a: 1 }], options);
  return values.length + Number(first?.yes) + either.length;
}

export async function run(): Promise<number> {
  const model: Model = sequential([dense(3, { activation: 'relu' })], { input: [2], seed: 1 });
  const trainer = new Trainer(model, { loss: (output, target) => mse(output, target), metrics: ['mae'] });
  const data = { x: new Float32Array(4), y: new Float32Array(6) };
  const history = await trainer.fit(data, { validationSplit: 0.5, callbacks: [earlyStopping()] });
  const numbers: number[] = [...history.loss, ...history.valLoss, ...history.mae, ...history.valAccuracy];
  await trainer.close();
  const predictor = await Predictor.load(model);
  const y: Float32Array = predictor.predictSync(data.x);
  for await (const row of predictor.stream([data.x])) row satisfies Float32Array;
  type Ends = { up: Float32Array; down: Float32Array };
  const { up } = await predictor.predict<Ends>({ left: data.x, right: data.x });
  for await (const { down } of predictor.stream<Ends>([{ left: data.x }])) down.set(up);
  const io = predictor.bind(1);
  io.inputs.x.set([1, 2]);
  predictor[Symbol.dispose]();
  const x = input([2]);
  evaluate(x, new Map([[x, data.x]]));
  const inProj: functional.Weights = { weight: input([4], { batch: 12 }), bias: null };
  const attention: functional.MultiHeadAttentionWeights = { inProj, outProj: { weight: x } };
  const mixed: Value = functional.multiHeadAttention(x, attention, { heads: 2, context: null, mask: x });
  const mlp = { up: inProj, down: inProj };
  functional.transformerBlock(mixed, { norm1: inProj, attention, norm2: inProj, mlp }, { heads: 2, norm: 'rms' });
  functional.embedding(x, x, { positions: x });
  const verdict: string = history.overfitting().verdict + history.toCSV() + history.matrices.x?.length;
  const worst: Metric = {
    values: (output, target) => [max(abs(sub(output, target)))],
    accumulate: () => ({ add: ([errors]) => void errors?.length, result: () => 0 }),
  };
  const found = await search({
    space: { units: space.int(1, 4), activation: space.choice(['relu', 'tanh']), name: space.choice([null, 'a']) },
    build: ({ units, activation, name }) => {
      const layer = dense(units, { activation, ...(name && { name }) });
      return new Trainer(sequential([layer], { input: [2] }), { loss: 'mse', metrics: { worst, r2: metrics.r2(), own: 'mae' } });
    },
    data,
  });
  const units: number | undefined = found.best?.options.units;
  const { mean } = await crossValidate({ build: () => trainer, data, folds: 2 });
  const scores = await trainer.evaluate(data);
  const cell: number | undefined = scores.matrices.x?.[0]?.[0];
  if ([verdict, units, mean.loss, cell, scores.loss].length === 0) return 0;
  if (numbers.length === 0) throw new TandemError('ERR_ARGUMENT', 'none');
  return y.length + io.outputs.y.length;
}
`;

/** Runs the project's own compiler in a folder; its output, '' when all is well. */
async function compile(folder, options, files) {
  const { bin } = JSON.parse(
    await readFile(join(root, 'node_modules/typescript/package.json'), 'utf8'),
  );
  const compiler = join(root, 'node_modules/typescript', bin.tsc);
  const compilerOptions = { strict: true, noEmit: true, skipLibCheck: false, ...options };
  const config = join(folder, 'tsconfig.json');
  await writeFile(config, JSON.stringify({ compilerOptions, files }));
  return await new Promise((resolve) => {
    execFile(process.execPath, [compiler, '-p', config], (error, stdout, stderr) => {
      resolve(error ? `${stdout}${stderr}` : '');
    });
  });
}

test('types compile for ES modules and CommonJS without skipLibCheck', async (t) => {
  const folder = await makeFolder(t);
  await mkdir(join(folder, 'node_modules'));
  await symlink(root, join(folder, 'node_modules/tandem-ml'), 'junction');
  await writeFile(join(folder, 'package.json'), '{}');
  await writeFile(join(folder, 'module.mts'), source);
  await writeFile(join(folder, 'common.cts'), source);
  const files = ['module.mts', 'common.cts'];
  const nodenext = { module: 'nodenext', target: 'es2022' };
  t.is(await compile(folder, { ...nodenext, types: [] }, files), '');
  t.is(
    await compile(folder, { ...nodenext, types: [], exactOptionalPropertyTypes: true }, files),
    '',
  );
  const bundler = { module: 'esnext', moduleResolution: 'bundler', target: 'es2022', types: [] };
  t.is(await compile(folder, bundler, files.slice(0, 1)), '');
  const node = { typeRoots: [join(root, 'node_modules/@types')], types: ['node'] };
  t.is(await compile(folder, { ...nodenext, ...node, lib: ['es2022'] }, files), '');
});

test('every type that is exported has a doc comment', async (t) => {
  const index = await readFile(join(root, 'dist/index.d.ts'), 'utf8');
  const listed = [...index.matchAll(/export (?:type )?\{([^}]*)\} from '\.\/(.*)\.js'/g)].flatMap(
    ([, names, file]) => names.split(',').map((name) => [name.trim().replace(/^type /, ''), file]),
  );
  const whole = [...index.matchAll(/export \* from '\.\/(.*)\.js'/g)].map(([, file]) => file);
  t.true(listed.length > 50);
  t.true(whole.length > 2);
  const documented = (code, kind, name) =>
    new RegExp(`\\*/\\nexport (?:declare )?${kind} ${name}\\b`).test(code);
  for (const [name, file] of listed) {
    const code = await readFile(join(root, `dist/${file}.d.ts`), 'utf8');
    const kind = '(?:interface|type|class|function|const)';
    const here = new RegExp(`export (?:declare )?${kind} ${name}\\b`).test(code);
    if (here) t.true(documented(code, kind, name), name);
  }
  for (const file of [...whole, 'autodiff']) {
    const code = await readFile(join(root, `dist/${file}.d.ts`), 'utf8');
    for (const [, kind, name] of code.matchAll(/^export (interface|type) (\w+)/gm)) {
      t.true(documented(code, kind, name), name);
    }
  }
});
