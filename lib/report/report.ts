import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { TandemError } from '../errors.js';
import { writeAtomically } from '../files/atomic.js';
import { filePathOf } from '../files/paths.js';
import * as is from '../is.js';
import { packMatrices, unpackMatrix } from '../metrics/matrices.js';
import { readLists } from '../metrics/state.js';
import type { Callback } from '../trainer/callbacks.js';
import {
  type EpochNumbers,
  type History,
  makeHistory,
  record,
  validationName,
} from '../trainer/history.js';
import { type Chart, type Library, type Page, render, words } from './page.js';

/** What a report is called, and the classes in it. */
export interface ReportOptions {
  /** 'Training' by default. */
  title?: string;
  /** Names of the classes of confusion matrices; their numbers by default. */
  labels?: readonly string[];
}

/** Where htmlReport writes, and what it shows. */
export interface HtmlReportOptions extends ReportOptions {
  /** The file, which is replaced as a whole. */
  path: string | URL;
}

const known = ['title', 'labels'] as const;

/**
 * Writes a history as one HTML file that needs no other: curves of losses and metrics, the learning
 * rate, the verdict on overfitting, confusion matrices. Needs the optional package `uplot`. Rejects
 * with ERR_ARGUMENT, also where that is missing, and errors of the file system.
 */
export async function writeReport(
  path: string | URL,
  history: History,
  options?: ReportOptions,
): Promise<void> {
  const target = filePathOf(path, 'path');
  const { title, labels } = checkOptions(is.options(options, 'options of writeReport', known));
  if (!isHistory(history)) throw is.invalid('a history of fit', 'history', history);
  await write(target, history, title, labels, undefined);
}

/**
 * A callback that writes a report when training ends, also by an error, once there is an epoch to
 * show; otherwise as writeReport. Throws ERR_ARGUMENT.
 */
export function htmlReport(options: HtmlReportOptions): Callback;
export function htmlReport(options: HtmlReportOptions, ...more: unknown[]): Callback {
  is.lastArgument(more, 'htmlReport');
  const set = is.options<Partial<HtmlReportOptions>>(options, 'options of htmlReport', [
    'path',
    ...known,
  ]);
  const path = filePathOf(set.path, 'path');
  const { title, labels } = checkOptions(set);
  let history = makeHistory();
  return {
    type: 'htmlReport',
    async onTrainBegin() {
      history = makeHistory();
      // A missing package is better known before hours of training.
      await library();
    },
    onEpochEnd(epoch, logs, _trainer, matrices) {
      record(history, epoch, logs, matrices);
    },
    saveState: () => ({ numbers: { ...history }, matrices: packMatrices(history.matrices) }),
    loadState(state) {
      const { numbers, matrices } = is.isRecord(state) ? state : {};
      history = makeHistory();
      const names = is.isRecord(numbers) ? Object.keys(numbers).filter(isName) : [];
      const lists: Record<string, Float64Array> = readLists(numbers, names);
      for (const [name, list] of Object.entries(lists)) history[name] = [...list];
      for (const [name, matrix] of Object.entries(is.isRecord(matrices) ? matrices : {})) {
        if (!isName(name)) continue;
        history.matrices[name] = unpackMatrix(matrix, name);
      }
    },
    async onTrainEnd(trainer) {
      if (history.epochs.length === 0) return;
      await write(path, history, title, labels, trainer.model.summary());
    },
  };
}

async function write(
  path: string | URL,
  history: History,
  title: string,
  labels: readonly string[] | undefined,
  summary: string | undefined,
): Promise<void> {
  const page: Page = {
    title,
    epochs: history.epochs.map((epoch) => epoch + 1),
    charts: charts(history),
    verdict: history.overfitting(),
    matrices: history.matrices,
    labels,
    summary,
  };
  await writeAtomically(path, [Buffer.from(render(page, await library()))]);
}

/** A chart for each number, with that of validation data; the learning rate last. */
function charts(history: EpochNumbers): Chart[] {
  const { epochs, loss, learningRate, ...metrics } = history;
  const numbers = { loss, ...metrics };
  const held = new Set(Object.keys(numbers).map(validationName));
  const line = (label: string, values: readonly number[]) => ({
    label,
    values: epochs.map((_, i) => {
      const value = values[i] ?? Number.NaN;
      return Number.isFinite(value) ? value : null;
    }),
  });
  const made = Object.entries(numbers)
    .filter(([name]) => !held.has(name))
    .map(([name, values]): Chart => {
      const validation = history[validationName(name)];
      const series = [line('training', values)];
      if (validation !== undefined) series.push(line('validation', validation));
      return { title: words(name), log: false, series };
    });
  const rates = learningRate.filter((rate) => Number.isFinite(rate));
  // There may be more than a call may have arguments.
  const least = rates.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
  const largest = rates.reduce((a, b) => Math.max(a, b), 0);
  const log = least > 0 && largest / least > 100;
  return [...made, { title: 'Learning rate', log, series: [line('learning rate', learningRate)] }];
}

/** A name that a file may not use to reach an object's prototype. */
const isName = (name: string): boolean => name !== '__proto__';

const isHistory = (value: unknown): value is History =>
  typeof value === 'object' &&
  value !== null &&
  Array.isArray(Reflect.get(value, 'epochs')) &&
  typeof Reflect.get(value, 'overfitting') === 'function';

function checkOptions(set: ReportOptions) {
  const title = is.string(set.title ?? 'Training', 'title');
  const { labels } = set;
  if (labels !== undefined) {
    if (!Array.isArray(labels)) throw is.invalid('an array of strings', 'labels', labels);
    labels.forEach((label: unknown, i) => {
      if (typeof label !== 'string') throw is.invalid('a string', `labels[${i}]`, label);
    });
  }
  return { title, labels };
}

let loaded: Promise<Library> | undefined;

/** uPlot as text, read once. */
function library(): Promise<Library> {
  loaded ??= load().catch((error: unknown) => {
    loaded = undefined;
    throw error;
  });
  return loaded;
}

async function load(): Promise<Library> {
  let entry: string;
  try {
    entry = createRequire(import.meta.url).resolve('uplot');
  } catch (cause) {
    const message =
      'expected the package `uplot` for a report, received none; npm install uplot@1.6.32';
    throw new TandemError('ERR_ARGUMENT', message, { cause });
  }
  const text = (name: string) => readFile(join(dirname(entry), name), 'utf8');
  return { script: await text('uPlot.iife.min.js'), style: await text('uPlot.min.css') };
}
