// Do two images show the same digit? A model with two inputs and three outputs in the functional
// form: both images go through one encoder, whose weights they share; a head compares what comes out,
// and another one, shared as well, names each digit. It is tested on images it has never seen.
import { abs, adamw, dense, dropout, input, Model, Predictor, sub, Trainer } from 'tandem-ml';
import { classes, drawDigit, loadDigits, pixels } from './lib/digits.mjs';
import { generator } from './lib/random.mjs';
import { beside } from './lib/terminal.mjs';

const [train, test] = await loadDigits({ sizes: [1437], seed: 1 });

// Model. Calling a layer again shares its parameters.
const hidden = dense(128, { activation: 'relu', name: 'hidden' });
const drop = dropout(0.2);
const code = dense(32, { activation: 'tanh', name: 'code' });
const digit = dense(classes, { name: 'digit' });
const encode = (image) => code(drop(hidden(image)));

const left = input([pixels], { name: 'left' });
const right = input([pixels], { name: 'right' });
const [leftCode, rightCode] = [encode(left), encode(right)];
const distances = abs(sub(leftCode, rightCode));
const model = new Model({
  inputs: [left, right],
  outputs: {
    same: dense(1, { name: 'same' })(distances),
    leftDigit: digit(leftCode),
    rightDigit: digit(rightCode),
  },
  seed: 1,
});
console.log(model.summary());

/**
 * Pairs of images, half of which show the same digit.
 * @param {{ x: Float32Array, y: Int32Array }} images
 */
function makePairs({ x, y }, count, seed) {
  const random = generator(seed);
  const pick = (list) => list[Math.floor(random() * list.length)];
  const all = [...y.keys()];
  const byDigit = Array.from({ length: classes }, (_, value) => all.filter((i) => y[i] === value));
  const pairs = Array.from({ length: count }, (_, i) => {
    const first = pick(all);
    const different = () => {
      const second = pick(all);
      return y[second] === y[first] ? different() : second;
    };
    return [first, i % 2 === 0 ? pick(byDigit[y[first]]) : different()];
  });
  const image = (i) => x.subarray(i * pixels, (i + 1) * pixels);
  const images = (side) => Float32Array.from(pairs.flatMap((pair) => [...image(pair[side])]));
  const digits = (side) => Int32Array.from(pairs, (pair) => y[pair[side]]);
  return {
    x: { left: images(0), right: images(1) },
    y: {
      same: Float32Array.from(pairs, ([a, b]) => Number(y[a] === y[b])),
      leftDigit: digits(0),
      rightDigit: digits(1),
    },
  };
}

const trainer = new Trainer(model, {
  loss: { same: 'bceWithLogits', leftDigit: 'crossEntropy', rightDigit: 'crossEntropy' },
  optimizer: adamw({ learningRate: 2e-3 }),
  metrics: ['accuracy'],
  seed: 1,
});
await trainer.fit(makePairs(train, 20_000, 1), { epochs: 12, batchSize: 128 });

const pairs = makePairs(test, 4000, 2);
const scores = await trainer.evaluate(pairs);
const percent = (share) => `${(100 * share).toFixed(1)} %`;
console.log(`
On ${pairs.y.same.length} pairs of ${test.y.length} held-out images:
  the same digit or not  ${percent(scores.sameAccuracy)}
  the digit on the left  ${percent(scores.leftDigitAccuracy)}
  the digit on the right ${percent(scores.rightDigitAccuracy)}
`);

// Both towers serve together: inputs and outputs go by their names.
const predictor = await Predictor.load(model);
const answers = /** @type {import('tandem-ml').NamedArrays} */ (await predictor.predict(pairs.x));
const cards = [0, 1, 2, 3].map((i) => {
  const draw = (side) => drawDigit(pairs.x[side].subarray(i * pixels, (i + 1) * pixels));
  const probability = 1 / (1 + Math.exp(-answers.same[i]));
  return [...draw('left'), '', ...draw('right'), '', `same: ${percent(probability)}`];
});
console.log(beside(cards));
await predictor.close();
await trainer.close();
