// Files that are cut, forged or damaged, and saves that fail. The single rules of the format are in
// ../safetensors.test.mjs.
import { execFile, execFileSync } from 'node:child_process';
import {
  chmod,
  chown,
  lstat,
  mkdir,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import test from 'ava';
import { Model, Predictor, TandemError } from 'tandem-ml';
import { copyArrays, fromPlain, guarded, toPlain } from '../../dist/internals.js';
import { makeFolder, sharedFolder } from '../helpers/folder.mjs';
import { bits, build, ends, generator, makeX, runScript } from './support.mjs';

const shared = sharedFolder(test);
/** The file of a model. */
let whole = Buffer.alloc(0);
test.before(async () => {
  const path = join(shared, 'whole.safetensors');
  await build().save(path);
  whole = await readFile(path);
});

let files = 0;
async function load(bytes) {
  const path = join(shared, `${files++}.safetensors`);
  await writeFile(path, bytes);
  try {
    return await Model.load(path);
  } finally {
    await rm(path);
  }
}
const format = { code: 'ERR_FILE_FORMAT' };

const set = (object, changes) => {
  Object.assign(object, changes);
};

/** The file with another header around the same tensors. */
function reheaded(whole, change) {
  const length = Number(whole.readBigUInt64LE(0));
  const header = JSON.parse(whole.subarray(8, 8 + length).toString());
  const graph = JSON.parse(header.__metadata__.graph);
  const made = change(header, graph) ?? header;
  if (made === header) header.__metadata__.graph = JSON.stringify(graph);
  return encode(typeof made === 'string' ? made : JSON.stringify(made), whole.subarray(8 + length));
}
function encode(json, data = Buffer.alloc(0)) {
  const text = Buffer.from(json);
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([prefix, text, data]);
}

test('a file cut anywhere is refused', async (t) => {
  const lengths = new Set([0, 1, 7, 8, 9, whole.length - 1, whole.length - 4]);
  for (let length = 0; length < whole.length; length += 61) lengths.add(length);
  for (const length of lengths) {
    await t.throwsAsync(load(whole.subarray(0, length)), format, `${length} bytes`);
  }
  await t.throwsAsync(load(Buffer.concat([whole, Buffer.alloc(1)])), format);
  t.deepEqual(bits(await load(whole)), bits(build()));
});

test('headers that claim more than there is are refused without taking memory', async (t) => {
  const folder = await makeFolder(t);
  const forged = [2n ** 60n, 2n ** 63n, 2n ** 64n - 1n, 2n ** 32n, BigInt(whole.length - 7)].map(
    (claim) => {
      const bytes = Buffer.from(whole);
      bytes.writeBigUInt64LE(claim);
      return bytes;
    },
  );
  const huge = { dtype: 'F32', shape: [2 ** 58], data_offsets: [0, 2 ** 60] };
  forged.push(
    reheaded(whole, (header) => set(header, { 'dense.weight': huge })),
    reheaded(whole, (_, graph) => set(graph.parameters[0], { shape: [2 ** 24, 2 ** 24] })),
  );
  const paths = forged.map((_, i) => join(folder, `${i}.safetensors`));
  for (const [i, path] of paths.entries()) await writeFile(path, forged[i]);
  // In a process of its own: the memory of this one is that of other tests, too.
  const { stdout } = await ends(
    t,
    `const before = process.memoryUsage.rss();
    const codes = [];
    for (const path of ${JSON.stringify(paths)}) {
      await Model.load(path).then(() => codes.push('none'), (error) => codes.push(error.code));
    }
    const grown = (process.memoryUsage.rss() - before) / 2 ** 20;
    console.log(JSON.stringify({ codes, grown }));`,
  );
  const { codes, grown } = JSON.parse(stdout);
  t.deepEqual(
    codes,
    forged.map(() => 'ERR_FILE_FORMAT'),
  );
  t.true(grown < 200, `${grown} MiB`);
});

test('graphs and tensors that do not fit each other are refused', async (t) => {
  const changes = {
    'offsets outside': (header) =>
      set(header['dense.weight'], { data_offsets: [2 ** 40, 2 ** 41] }),
    'negative offsets': (header) => set(header['dense.weight'], { data_offsets: [-4, 1020] }),
    'an overlap': (header) => {
      const [begin] = header['dense.weight'].data_offsets;
      set(header['dense_1.weight'], { data_offsets: [begin, begin + 512] });
    },
    'a wrong dtype': (header) => set(header['dense.weight'], { dtype: 'F16' }),
    'an unknown dtype': (header) => set(header['dense.weight'], { dtype: 'F33' }),
    'an integer dtype': (header) => set(header['dense.weight'], { dtype: 'I32' }),
    'a cycle': (_, graph) => set(graph.nodes[0].inputs, { 0: graph.outputs[0].value }),
    'a node that reads itself': (_, graph) => set(graph.nodes[0].inputs, { 0: 5 }),
    'an unknown op': (_, graph) => set(graph.nodes[0], { op: 'explode' }),
    'an internal op': (_, graph) => set(graph.nodes[0], { op: 'adam' }),
    'unknown attributes': (_, graph) => set(graph.nodes[0], { attributes: { alpha: 1 } }),
    'attributes of other types': (_, graph) => set(graph.nodes[0], { attributes: { a: 'b' } }),
    'no outputs': (_, graph) => set(graph, { outputs: [] }),
    'no inputs': (_, graph) => set(graph, { inputs: [] }),
    'an output that is none': (_, graph) => set(graph.outputs[0], { value: 99 }),
    'huge numbers': (_, graph) => set(graph.inputs[0], { shape: [-1, 2 ** 52] }),
    'a prototype': (_, graph) => set(graph.nodes[0], { op: '__proto__' }),
    'no graph': (header) => ({ ...header, __metadata__: {} }),
    'no object': () => '[]',
    'no JSON': () => '{"a":',
    'deep JSON': () => `{"a":${'['.repeat(1_000_000)}${']'.repeat(1_000_000)}}`,
    'deep JSON of a graph': (header) => ({
      ...header,
      __metadata__: { ...header.__metadata__, graph: '{"a":'.repeat(100_000) },
    }),
  };
  for (const [what, change] of Object.entries(changes)) {
    const error = await t.throwsAsync(load(reheaded(whole, change)), undefined, what);
    t.is(error?.code, 'ERR_FILE_FORMAT', `${what}: ${error}`);
  }
  for (const garbage of [
    '',
    '{}',
    'null',
    '{"x":null}',
    '{"__metadata__":7}',
    '\u0000'.repeat(99),
  ]) {
    await t.throwsAsync(load(encode(garbage)), format);
    await t.throwsAsync(load(Buffer.from(garbage)), format);
  }
});

test('a graph of very many nodes is no matter of the stack', async (t) => {
  const count = 20_000;
  const bytes = reheaded(whole, (_, graph) => {
    const [output] = graph.outputs;
    const node = { op: 'neg', attributes: {}, layer: -1 };
    for (let i = 0; i < count; i++) graph.nodes.push({ ...node, inputs: [output.value + i] });
    output.value += count;
  });
  const path = join(shared, 'long.safetensors');
  await writeFile(path, bytes);
  // In a process of its own: a stack that overflows is a crash.
  await ends(
    t,
    `const path = ${JSON.stringify(path)};
    const code = async (body) => {
      try { await body(); } catch (error) { if (error.name !== 'TandemError') throw error; }
    };
    await code(async () => {
      const model = await Model.load(path);
      await code(async () => (await Predictor.load(model)).predictSync(makeX(1)));
      await code(async () => makeTrainer(model).step(makeData(4)));
    });`,
  );
});

const run = promisify(execFile);
const mutations = fileURLToPath(new URL('mutations.mjs', import.meta.url));

test('1,000 damaged files load or are refused', async (t) => {
  const path = join(shared, 'valid.safetensors');
  await writeFile(path, whole);
  const { stdout, stderr } = await run(process.execPath, [mutations, path, '1', '1000']);
  t.is(stderr, '');
  const { loaded, codes, other } = JSON.parse(stdout);
  t.deepEqual(other, []);
  t.true(loaded > 100, `${loaded} loaded`);
  t.true(codes.ERR_FILE_FORMAT > 100);
});

test('values that are no numbers survive a file', async (t) => {
  const model = build();
  const [first] = model.parameters.values();
  const random = generator(4);
  const words = new Uint32Array(first.data.buffer, first.data.byteOffset, first.data.length);
  words.forEach((_, i) => {
    words[i] = random() * 2 ** 32;
  });
  first.data.set([Number.NaN, Number.POSITIVE_INFINITY, -0, 1e-45]);
  const path = join(shared, 'nan.safetensors');
  await model.save(path);
  const loaded = await Model.load(path);
  t.deepEqual(bits(loaded), bits(model));
  const predictor = await Predictor.load(loaded);
  t.is(predictor.predictSync(makeX(3)).length, 12);
  await predictor.close();
});

const library = new URL('../../dist/index.js', import.meta.url).href;
const support = JSON.stringify(new URL('support.mjs', import.meta.url).href);

/** A script that saves to `path` with one function of the file system replaced by `instead`. */
const savingWith = (name, instead, path) => `
  import fs from 'node:fs/promises';
  import { syncBuiltinESMExports } from 'node:module';
  const name = ${JSON.stringify(name)};
  const { open } = fs;
  if (name === 'rename') fs.rename = ${instead};
  else fs.open = async (path, flags) => {
    if (flags === 'r') return await open(path, flags);
    if (name === 'open') return await ${instead}();
    const file = await open(path, flags);
    const real = file[name].bind(file);
    file[name] = async (...given) => {
      if (name === 'close') await real(...given);
      return await ${instead}();
    };
    return file;
  };
  syncBuiltinESMExports();
  const { build } = await import(${support});
  const error = await build(6).save(${JSON.stringify(path)}).catch((thrown) => thrown);`;

test('a save that fails leaves the old file whole and nothing beside it', async (t) => {
  const folder = await makeFolder(t);
  const path = join(folder, 'm.safetensors');
  const model = build(5);
  await model.save(path);
  const old = await readFile(path);
  for (const name of ['open', 'write', 'sync', 'close', 'rename']) {
    const script = `
      const fail = () => Promise.reject(Object.assign(new Error('broken'), { code: 'EIO' }));
      ${savingWith(name, 'fail', path)}
      if (error?.code !== 'EIO') throw new Error('saved: ' + error);`;
    await ends(t, script, 0, { bare: true });
    t.deepEqual(await readFile(path), old, name);
    t.deepEqual(await readdir(folder), ['m.safetensors'], name);
  }
  t.deepEqual(bits(await Model.load(path)), bits(model));
  const place = join(folder, 'folder');
  await mkdir(place);
  await t.throwsAsync(model.save(place), { message: /^E[A-Z]+: / });
  t.deepEqual((await readdir(folder)).sort(), ['folder', 'm.safetensors']);
});

test('a path that ends like that of a folder is no place for a file', async (t) => {
  const folder = await makeFolder(t);
  const model = build(5);
  const refusal = { code: 'ERR_ARGUMENT', message: /^expected the path of a file for `path`/ };
  for (const name of ['new/', 'new//', 'new/.', 'new/..', '.']) {
    await t.throwsAsync(model.save(`${folder}/${name}`), refusal, name);
  }
  t.deepEqual(await readdir(folder), []);
  await model.save(`${folder}/.new.`);
  t.deepEqual(await readdir(folder), ['.new.']);
});

// Windows counts whole paths.
const long = process.platform === 'win32' ? test.skip : test;
long('a name as long as the system takes, of any characters', async (t) => {
  const folder = await makeFolder(t);
  const model = build(5);
  for (const name of ['n'.repeat(255), 'ä€'.repeat(51)]) {
    const path = join(folder, name);
    await model.save(path);
    t.deepEqual(bits(await Model.load(path)), bits(model));
    t.deepEqual(await readdir(folder), [name]);
    await rm(path);
  }
});

// As root, /dev/null would be an ordinary file afterwards.
long('a pipe or a device is no place for a file', async (t) => {
  const path = join(await makeFolder(t), 'pipe');
  execFileSync('mkfifo', [path]);
  await t.throwsAsync(build().save(path), { code: 'ERR_ARGUMENT', message: /a device or a pipe/ });
  t.true((await stat(path)).isFIFO());
});

const posix = process.platform === 'win32' ? test.skip : test;

posix('who may read a file is as it was after a save in its place', async (t) => {
  const path = join(await makeFolder(t), 'm.safetensors');
  const model = build(5);
  await model.save(path);
  for (const mode of [0o600, 0o666, 0o440]) {
    await chmod(path, mode);
    await model.save(path);
    t.is((await stat(path)).mode & 0o777, mode, mode.toString(8));
  }
});

// Only root may give files away, and take the place of those who may not.
const asRoot = process.getuid?.() === 0 ? test : test.skip;

asRoot('whom a file belongs to is as it was after a save in its place', async (t) => {
  const path = join(await makeFolder(t), 'm.safetensors');
  const model = build(5);
  await model.save(path);
  await chown(path, 1234, 2345);
  await chmod(path, 0o640);
  await model.save(path);
  const { uid, gid, mode } = await stat(path);
  t.deepEqual([uid, gid, mode & 0o777], [1234, 2345, 0o640]);
});

asRoot('a file that cannot be given to its group is not open to another one', async (t) => {
  const folder = await makeFolder(t);
  await chmod(folder, 0o777);
  const path = join(folder, 'm.safetensors');
  await build().save(path);
  await chown(path, 1234, 2345);
  await chmod(path, 0o664);
  const script = `
    import { build } from ${JSON.stringify(new URL('support.mjs', import.meta.url).href)};
    const model = build(5);
    await model.save(${JSON.stringify(`${path}.first`)}); // what is loaded late is there
    process.setgroups([]);
    process.setegid(3456);
    process.seteuid(3456);
    await model.save(${JSON.stringify(path)});`;
  await ends(t, script, 0, { bare: true });
  const { uid, gid, mode } = await stat(path);
  t.deepEqual([uid, gid, mode & 0o777], [3456, 3456, 0o644]);
});

posix('a save through links that lead nowhere yet makes the file that they name', async (t) => {
  const folder = await makeFolder(t);
  const model = build(5);
  await mkdir(join(folder, 'deep'));
  await symlink('deep/second', join(folder, 'first'));
  await symlink('../m.safetensors', join(folder, 'deep', 'second'));
  await model.save(join(folder, 'first'));
  t.true((await lstat(join(folder, 'first'))).isSymbolicLink());
  t.true((await lstat(join(folder, 'deep', 'second'))).isSymbolicLink());
  t.deepEqual(bits(await Model.load(join(folder, 'm.safetensors'))), bits(model));
  await symlink('loop', join(folder, 'loop'));
  await t.throwsAsync(model.save(join(folder, 'loop')), { code: 'ELOOP' });
  t.true((await lstat(join(folder, 'loop'))).isSymbolicLink());
});

posix('links go from the folder that they lie in, as the system has it', async (t) => {
  const folder = await makeFolder(t);
  const model = build(5);
  await mkdir(join(folder, 'real', 'deep'), { recursive: true });
  await symlink('real/deep', join(folder, 'short'));
  await symlink('../m.safetensors', join(folder, 'real', 'deep', 'first'));
  await model.save(join(folder, 'short', 'first'));
  t.deepEqual(bits(await Model.load(join(folder, 'real', 'm.safetensors'))), bits(model));
  await symlink('missing/../back', join(folder, 'back'));
  await t.throwsAsync(model.save(join(folder, 'back')), { code: 'ENOENT' });
  t.deepEqual((await readdir(folder)).sort(), ['back', 'real', 'short']);
});

test('a copy to be saved that there is no memory for says so', async (t) => {
  class Crowded extends Float32Array {
    static full = false;
    constructor(length) {
      if (Crowded.full) throw new RangeError('Array buffer allocation failed');
      super(length);
    }
  }
  const array = new Crowded(6);
  t.is((await copyArrays([array]))[0]?.length, 6);
  Crowded.full = true;
  const error = await t.throwsAsync(copyArrays([array]), { code: 'ERR_OUT_OF_MEMORY' });
  t.true(error instanceof TandemError);
  t.regex(error?.message ?? '', /24 bytes/);
});

test('memory that the machine lacks is no fault of a file', (t) => {
  const lack = new TandemError('ERR_OUT_OF_MEMORY', 'none left');
  const other = new TandemError('ERR_SHAPE', 'no shape');
  const raise = (error) => () => {
    throw error;
  };
  t.throws(() => guarded(raise(lack)), { is: lack });
  t.throws(() => guarded(raise(other)), { code: 'ERR_FILE_FORMAT' });
  const told = fromPlain(toPlain(lack)); // by a thread that reads
  t.true(told instanceof TandemError);
  t.is(told.code, 'ERR_OUT_OF_MEMORY');
});

long('a process without a descriptor left says so', async (t) => {
  const path = join(shared, 'served.safetensors');
  await writeFile(path, whole);
  const script = `
    import { closeSync, openSync } from 'node:fs';
    const { Predictor } = await import(${JSON.stringify(library)});
    const path = ${JSON.stringify(path)};
    await (await Predictor.load(path)).close();
    const held = [];
    try { for (;;) held.push(openSync(path)); } catch {}
    const codes = [];
    for (let free = 0; free < 4; free++) {
      codes.push(await Predictor.load(path).then(() => 'none', (error) => error.code));
      closeSync(held.pop());
    }
    for (const file of held) closeSync(file);
    console.log(codes.join());
    process.exit(0);`;
  const limited = ['-c', 'ulimit -n 64; exec "$0" "$@"', process.execPath];
  const { stdout } = await run('sh', [...limited, '--input-type=module', '-e', script]);
  t.is(stdout.trim(), 'EMFILE,ERR_OUT_OF_MEMORY,ERR_OUT_OF_MEMORY,none');
});

test('an event file that cannot be written to is closed', async (t) => {
  const folder = await makeFolder(t);
  await ends(
    t,
    `
    import fs from 'node:fs/promises';
    import { syncBuiltinESMExports } from 'node:module';
    const { open } = fs;
    let closed = 0;
    fs.open = async (...given) => {
      const file = await open(...given);
      file.appendFile = () => Promise.reject(Object.assign(new Error('full'), { code: 'ENOSPC' }));
      const close = file.close.bind(file);
      file.close = () => { closed++; return close(); };
      return file;
    };
    syncBuiltinESMExports();
    const { tensorBoard } = await import(${JSON.stringify(library)});
    const { makeData, makeTrainer } = await import(${support});
    const callbacks = [tensorBoard({ dir: ${JSON.stringify(folder)} })];
    const error = await makeTrainer().fit(makeData(8), { verbose: 0, callbacks }).catch((thrown) => thrown);
    if (error?.code !== 'ENOSPC' || closed !== 1) throw new Error(error + ', closed ' + closed);`,
    0,
    { bare: true },
  );
});

test('a process killed during a save leaves the old file whole', async (t) => {
  const folder = await makeFolder(t);
  const path = join(folder, 'm.safetensors');
  const model = build(5);
  await model.save(path);
  const old = await readFile(path);
  for (const name of ['write', 'sync', 'rename']) {
    const script = `
      const end = () => {
        process.kill(process.pid, 'SIGKILL');
        return new Promise(() => {});
      };
      ${savingWith(name, 'end', path)}`;
    const { signal, status } = await runScript(script, { bare: true });
    t.true(signal === 'SIGKILL' || (process.platform === 'win32' && status === 1));
    t.deepEqual(await readFile(path), old, name);
  }
  await model.save(path);
  t.deepEqual(await readFile(path), old);
});
