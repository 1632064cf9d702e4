// @ts-check
// bindings.d.ts is written by hand; this keeps its names and the addon's equal, in both directions.
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { API, SymbolFlags } from 'typescript/unstable/sync';

const root = fileURLToPath(new URL('..', import.meta.url));

/** @typedef {Record<string, { members: string[], statics: string[] } | null>} Surface */

const ownOfFunctions = ['arguments', 'caller', 'length', 'name', 'prototype'];

/** @param {Iterable<string | symbol>} keys  @param {string[]} inherent names that every class has */
const names = (keys, inherent) =>
  [...keys]
    .map((key) => (typeof key === 'symbol' ? `[${key.description}]` : key))
    // TypeScript's name for a member whose name is a well-known symbol.
    .map((key) => key.replace(/^__@(\w+?)(@\d+)?$/, '[Symbol.$1]'))
    .filter((key) => !inherent.includes(key))
    .sort();

/** @returns {Surface} the values that bindings.d.ts exports; for a class, its members */
function declared() {
  const api = new API({ cwd: root });
  try {
    const snapshot = api.updateSnapshot({ openProject: `${root}tsconfig.json` });
    const project = snapshot.getProject(`${root}tsconfig.json`);
    const file = project?.program.getSourceFile(`${root}bindings.d.ts`);
    const module = file && project?.checker.getSymbolAtLocation(file);
    if (!project || !module) throw new Error('tsconfig.json does not include bindings.d.ts');
    /** @type {Surface} */
    const surface = {};
    for (const symbol of project.checker.getExportsOfModule(module)) {
      if ((symbol.flags & SymbolFlags.Value) === 0) continue;
      const { checker } = project;
      /** @param {import('typescript/unstable/sync').Type | undefined} type */
      const properties = (type) =>
        type ? checker.getPropertiesOfType(type).map(({ name }) => name) : [];
      surface[symbol.name] =
        (symbol.flags & SymbolFlags.Class) === 0
          ? null
          : {
              members: names(properties(checker.getDeclaredTypeOfSymbol(symbol)), []),
              statics: names(properties(checker.getTypeOfSymbol(symbol)), ['prototype']),
            };
    }
    return surface;
  } finally {
    api.close();
  }
}

/** @returns {Surface} the same of the addon, as it is loaded */
function exported() {
  /** @type {Record<string, unknown>} */
  const addon = createRequire(import.meta.url)('node-gyp-build')(root);
  return Object.fromEntries(
    Object.entries(addon).map(([name, value]) => {
      // Node-API's classes have members or cannot be told from functions, and by our naming only
      // classes start with a capital.
      if (typeof value !== 'function' || !/^[A-Z]/.test(name)) return [name, null];
      return [
        name,
        {
          members: names(Reflect.ownKeys(value.prototype), ['constructor']),
          statics: names(Reflect.ownKeys(value), ownOfFunctions),
        },
      ];
    }),
  );
}

test('bindings.d.ts declares what the addon exports, and nothing else', (t) => {
  t.deepEqual(exported(), declared());
});

test('the version is that of the package', (t) => {
  const require = createRequire(import.meta.url);
  t.is(require('node-gyp-build')(root).version, require('../package.json').version);
});
