// Every golden file of an op: outputs and gradients on the device against PyTorch's.
import { evaluate, vjp } from 'tandem-ml/autodiff';
import { openOp } from '../../helpers/golden-ops.mjs';
import { goldenNames } from '../../helpers/safetensors.mjs';
import { check, device, end, near } from '../support.mjs';

const tolerance = 1e-5;

/** Runs `compare` for each result and throws at the end, so that one failure does not hide others. */
function all(compares) {
  const failures = [];
  const errors = compares.map((compare) => {
    try {
      return compare();
    } catch (error) {
      failures.push(error.message);
      return Number.NaN;
    }
  });
  if (failures.length > 0) throw new Error(failures.join('\n'));
  return Math.max(...errors);
}

for (const name of goldenNames('ops')) {
  await check(name, () => {
    const { spec, output, feeds, expected, gradients, cotangent } = openOp(name);
    const shapes = [...feeds.keys()].map(({ shape }) => `[${shape}]`).join(' ');
    const about = `${spec.op} of ${shapes} with ${JSON.stringify(spec.attrs)}`;
    try {
      const [{ data }] = expected;
      const [value] = evaluate(output, feeds, { device });
      const wrt = gradients.map((tensor) => tensor.value);
      const result = vjp(output, feeds, cotangent, { wrt, device });
      const worst = all([
        () => near(value, data, tolerance, 'output of evaluate'),
        () => near(result.outputs[0], data, tolerance, 'output of vjp'),
        ...gradients.map(
          (tensor, i) => () =>
            near(result.gradients[i], tensor.data, tolerance, `gradient of ${tensor.name}`),
        ),
      ]);
      return worst.toExponential(1);
    } catch (error) {
      error.message = `${about}\n${error.message}`;
      throw error;
    }
  });
}
end();
