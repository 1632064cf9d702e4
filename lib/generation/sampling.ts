// Logits -> the next token.
import { TandemError } from '../errors.js';
import * as is from '../is.js';
import { generator } from '../trainer/random.js';

/** How the next token is chosen. */
export interface SamplingOptions {
  /**
   * What logits are divided by: 0 always takes the likeliest token; 1 draws as the model says, and so
   * on. 1 by default where `topK`, `topP` or `seed` says how to draw, otherwise 0.
   */
  temperature?: number;
  /** Draws among so many of the likeliest tokens: Fan et al., "Hierarchical Neural Story Generation" (2018). */
  topK?: number;
  /**
   * Draws among the likeliest tokens that have this much of the probability together: Holtzman et al.,
   * "The Curious Case of Neural Text Degeneration" (2020).
   */
  topP?: number;
  /**
   * Above 1 makes tokens that are there already less likely: Keskar et al., "CTRL" (2019). 1 by default.
   */
  repetitionPenalty?: number;
  /** Of the draws; another each time by default. */
  seed?: number;
}

/** Chooses tokens for one sequence. */
export interface Sampler {
  /** `logits` stay as they are; `seen` are the tokens so far. Throws ERR_NUMERIC. */
  next(logits: Float32Array, seen: Int32Array): number;
}

/** Throws ERR_ARGUMENT. */
export function makeSampler(options: SamplingOptions): Sampler {
  const draws = [options.topK, options.topP, options.seed].some((value) => value !== undefined);
  const temperature = is.number(options.temperature ?? (draws ? 1 : 0), 'temperature', 0);
  const topK = is.integer(options.topK ?? Number.MAX_SAFE_INTEGER, 'topK', 1);
  const topP = is.number(is.positive(options.topP ?? 1, 'topP'), 'topP', 0, 1);
  const penalty = is.positive(options.repetitionPenalty ?? 1, 'repetitionPenalty');
  const seed = is.integer(options.seed ?? Math.floor(Math.random() * 2 ** 32), 'seed', 0);
  const random = generator(seed, 0);
  let copy = new Float32Array(0);
  return {
    next(logits, seen) {
      let scores = logits;
      if (penalty !== 1) {
        if (copy.length !== logits.length) copy = new Float32Array(logits.length);
        copy.set(logits);
        scores = copy;
        penalise(scores, seen, penalty);
      }
      const best = likeliest(scores);
      if (temperature === 0 || topK === 1) return best;
      return draw(scores, scores[best] as number, { temperature, topK, topP }, random);
    },
  };
}

function penalise(scores: Float32Array, seen: Int32Array, penalty: number): void {
  for (const token of new Set(seen)) {
    const score = scores[token];
    if (score !== undefined) scores[token] = score > 0 ? score / penalty : score * penalty;
  }
}

/** The first of the greatest. Throws ERR_NUMERIC for logits that no probability follows from. */
function likeliest(scores: Float32Array): number {
  let best = 0;
  let greatest = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < scores.length; i++) {
    const score = scores[i] as number;
    if (score > greatest) {
      greatest = score;
      best = i;
    } else if (Number.isNaN(score)) {
      throw new TandemError(
        'ERR_NUMERIC',
        `expected logits that are numbers, received NaN for token ${i}`,
      );
    }
  }
  if (!Number.isFinite(greatest)) {
    const where = greatest > 0 ? `for token ${best}` : 'for every token';
    throw new TandemError(
      'ERR_NUMERIC',
      `expected logits that are numbers, received ${greatest} ${where}`,
    );
  }
  return best;
}

function draw(
  scores: Float32Array,
  greatest: number,
  { temperature, topK, topP }: { temperature: number; topK: number; topP: number },
  random: () => number,
): number {
  const weight = (score: number) => Math.exp((score - greatest) / temperature);
  const { least, ties } = cutoff(scores, weight, topK, topP);
  let total = 0;
  let left = ties;
  const chosen: number[] = [];
  const sums: number[] = [];
  for (let i = 0; i < scores.length; i++) {
    const score = scores[i] as number;
    if (score < least || (score === least && --left < 0)) continue;
    total += weight(score);
    chosen.push(i);
    sums.push(total);
  }
  const point = ((random() + 0.5) / 2 ** 32) * total;
  const at = sums.findIndex((sum) => point < sum);
  return chosen[at === -1 ? chosen.length - 1 : at] as number;
}

/** The least score that is drawn from, and how many tokens with just that score are. */
function cutoff(
  scores: Float32Array,
  weight: (score: number) => number,
  topK: number,
  topP: number,
): { least: number; ties: number } {
  if (topK >= scores.length && topP === 1) {
    return { least: Number.NEGATIVE_INFINITY, ties: Number.POSITIVE_INFINITY };
  }
  // Numbers alone are sorted many times as fast as tokens by their numbers.
  const sorted = scores.slice().sort().reverse();
  let count = Math.min(topK, sorted.length);
  if (topP < 1) {
    let total = 0;
    for (let i = 0; i < count; i++) total += weight(sorted[i] as number);
    let sum = 0;
    for (let i = 0; i < count; i++) {
      sum += weight(sorted[i] as number);
      if (sum >= topP * total) count = i + 1;
    }
  }
  const least = sorted[count - 1] as number;
  return { least, ties: count - sorted.indexOf(least) };
}
