import { dense, sequential } from 'tandem-ml';

/**
 * A perceptron with ReLU between its layers.
 * @param {number[]} sizes
 */
export function mlp(sizes) {
  const layers = sizes
    .slice(1)
    .map((units, i) => dense(units, i < sizes.length - 2 ? { activation: 'relu' } : {}));
  return sequential(layers, { input: [sizes[0]], seed: 1 });
}

/** Uniform in [-1, 1). */
export const noise = (length) => Float32Array.from({ length }, () => 2 * Math.random() - 1);

export const labels = (length, classes) =>
  Int32Array.from({ length }, () => Math.floor(Math.random() * classes));
