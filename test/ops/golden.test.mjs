// Every op against PyTorch: outputs and gradients of the golden files.
import test from 'ava';
import { evaluate, vjp } from 'tandem-ml/autodiff';
import { builders, openOp } from '../helpers/golden-ops.mjs';
import { relativeError } from '../helpers/numbers.mjs';
import { goldenNames, readGolden } from '../helpers/safetensors.mjs';

/** Of outputs and gradients, by norm. */
const tolerance = 1e-5;

const files = goldenNames('ops');

test('every file has a builder', (t) => {
  for (const name of files) {
    const { op } = readGolden(`ops/${name}`).spec;
    t.true(op in builders, `${name} (${op})`);
  }
});

for (const name of files) {
  test(name, (t) => {
    const { output, feeds, expected, gradients, cotangent } = openOp(name);
    const [{ shape, data }] = expected;
    t.is(expected.length, 1);
    // A scalar is stored as [1].
    t.deepEqual(output.shape.length === 0 ? [1] : output.shape, shape);

    const result = vjp(output, feeds, cotangent, { wrt: gradients.map(({ value }) => value) });
    const close = (actual, wanted, what) => {
      const error = relativeError(actual, wanted);
      t.true(error <= tolerance, `${what}: relative error ${error}`);
    };
    close(result.outputs[0], data, 'output of vjp');
    close(evaluate(output, feeds)[0], data, 'output of evaluate');
    t.true(gradients.length > 0);
    gradients.forEach((tensor, i) => {
      close(result.gradients[i], tensor.data, `gradient of ${tensor.name}`);
    });
  });
}
