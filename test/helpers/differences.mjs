// Gradients against central differences along random directions.
import { evaluate, vjp } from 'tandem-ml/autodiff';
import { fixed, generator, relativeError, uniform } from './numbers.mjs';

/**
 * Of directional derivatives, by norm over the directions. With steps of 1/64 the third derivative
 * contributes about 1e-4 of the slope, the rounding of float32 outputs less.
 */
const tolerance = 2e-3;
const step = 1 / 64;
const directions = 6;

/**
 * Compares <gradient, v> with differences along random v, of all of `floats` together and then of
 * each alone.
 *
 * @param graph  the output, from values by name
 * @param floats  { shape, data, constant } by name; no gradient of the constant ones
 * @param integers  { shape, data } by name
 */
export function check(t, { graph, floats, integers = {}, options = {}, seed = 1 }) {
  const random = generator(seed);
  const values = {};
  const feeds = new Map();
  const add =
    (dtype) =>
    ([name, { shape, data }]) => {
      values[name] = fixed(shape, dtype, name);
      feeds.set(values[name], data);
    };
  Object.entries(floats).forEach(add('float32'));
  Object.entries(integers).forEach(add('int32'));
  const output = graph(values);
  const names = Object.keys(floats).filter((name) => !floats[name].constant);

  const [start] = evaluate(output, feeds, options);
  const cotangent = uniform(start.length, random, 0.5, 1.5).map((c, i) => (i % 3 === 1 ? -c : c));
  const wrt = names.map((name) => values[name]);
  const { outputs, gradients } = vjp(output, feeds, cotangent, { ...options, wrt });
  t.true(relativeError(outputs[0], start) < 1e-5, 'outputs of vjp and evaluate differ');

  /** The sum of outputs times cotangents, in doubles. */
  const weigh = (moved) => {
    const [result] = evaluate(output, new Map([...feeds, ...moved]), options);
    return result.reduce((total, value, i) => total + value * cotangent[i], 0);
  };
  const shift = (data, v, scale) => data.map((value, i) => value + scale * v[i]);

  const groups = names.length > 1 ? [names, ...names.map((name) => [name])] : [names];
  for (const group of groups) {
    const [slopes, differences] = [[], []];
    for (let k = 0; k < directions; k++) {
      const [up, down] = [new Map(), new Map()];
      let slope = 0;
      for (const name of group) {
        const { data } = floats[name];
        const v = uniform(data.length, random);
        const [high, low] = [shift(data, v, step), shift(data, v, -step)];
        up.set(values[name], high);
        down.set(values[name], low);
        // The distance after rounding to float32.
        gradients[names.indexOf(name)].forEach((g, i) => {
          slope += g * (high[i] - low[i]);
        });
      }
      slopes.push(slope);
      differences.push(weigh(up) - weigh(down));
    }
    const error = relativeError(slopes, differences);
    t.true(error <= tolerance, `${group}: relative error ${error}`);
  }
}

/** Elements of a shape. */
export const count = (shape) => shape.reduce((product, length) => product * length, 1);

/** Numbers from `low` to `high`, none within 1/20 of a kink. */
export function numbers(shape, seed, { low = -3, high = 3, kinks = [] } = {}) {
  const random = generator(seed);
  const draw = () => {
    for (;;) {
      const value = low + (high - low) * random();
      if (kinks.every((kink) => Math.abs(value - kink) > 0.05)) return value;
    }
  };
  return { shape, data: Float32Array.from({ length: count(shape) }, draw) };
}

/** Shuffled numbers that are 1/10 apart, so that no maximum changes hands. */
export function distinct(shape, seed, offset = 0) {
  const random = generator(seed);
  const data = Float32Array.from({ length: count(shape) }, (_, i) => i / 10);
  for (let i = data.length - 1; i > 0; i--) {
    const j = Math.floor((i + 1) * random());
    [data[i], data[j]] = [data[j], data[i]];
  }
  const middle = Math.floor(data.length / 2) / 10;
  return { shape, data: data.map((value) => value - middle + offset) };
}
