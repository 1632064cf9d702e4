// Text by Hugging Face's tokenizers, which only those need who encode text.
import { readFile } from 'node:fs/promises';
import { pathOf } from '../../files/paths.js';
import * as is from '../../is.js';
import { badData, optional } from '../errors.js';

/** The numbers of a text's tokens. */
export type Tokens = (text: string) => readonly number[];

const packageName: string = '@huggingface/tokenizers';

/** What is used of the package, whose own types do not compile for ES modules. */
interface Package {
  readonly Tokenizer: new (
    tokenizer: object,
    config: object,
  ) => { encode(text: string): { readonly ids: readonly number[] } };
}

/** Rejects with ERR_ARGUMENT without the package, ERR_FILE_FORMAT for what is no tokenizer. */
export async function makeTokens(tokenizer: unknown, file?: string): Promise<Tokens> {
  const load = () => import(packageName) as Promise<Package>;
  const { Tokenizer } = await optional(load, packageName, 'columns of text');
  try {
    const made = new Tokenizer(tokenizer as object, {});
    return (text) => made.encode(text).ids;
  } catch (error) {
    const received = error instanceof Error ? error.message : String(error);
    throw badData(
      'a tokenizer of Hugging Face',
      received,
      { file: file ?? 'tokenizer.json' },
      { cause: error },
    );
  }
}

/** What a tokenizer.json says, and the number of its padding token. */
export async function readTokenizer(
  path: string | URL,
  column: string,
): Promise<{ tokenizer: unknown; padding: number }> {
  const file = pathOf(path, 'tokenizer');
  let source: string;
  try {
    source = await readFile(file, 'utf8');
  } catch (cause) {
    const received = cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause);
    throw badData('the tokenizer to be read', received, { file, column }, { cause });
  }
  let tokenizer: unknown;
  try {
    tokenizer = JSON.parse(source);
  } catch (cause) {
    throw badData('a tokenizer in JSON', 'something else', { file, column }, { cause });
  }
  if (!is.isRecord(tokenizer)) throw badData('an object', is.show(tokenizer), { file, column });
  await makeTokens(tokenizer, file);
  return { tokenizer, padding: paddingOf(tokenizer) };
}

function paddingOf({ padding, added_tokens: added }: Record<string, unknown>): number {
  if (is.isRecord(padding) && Number.isSafeInteger(padding.pad_id)) return Number(padding.pad_id);
  if (!Array.isArray(added)) return 0;
  const found: unknown = added.find(
    (item: unknown) => is.isRecord(item) && /^[[<]?pad[\]>]?$/i.test(String(item.content)),
  );
  return is.isRecord(found) && Number.isSafeInteger(found.id) ? Number(found.id) : 0;
}
