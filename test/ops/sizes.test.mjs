// Shapes that follow from the batch in other ways than being it, and values without elements.
import test from 'ava';
import { bceWithLogits, concat, huber, input, l1, mse, pad, reshape, slice } from 'tandem-ml';
import { evaluate, vjp } from 'tandem-ml/autodiff';

test('sizes are shown in terms of the batch', (t) => {
  const x = input([4]);
  const shown = (value) => `${value}`.replace(/.*\[(.*)\].*/, '$1');
  t.is(
    shown(
      pad(x, {
        pads: [
          [1, 0],
          [0, 0],
        ],
      }),
    ),
    'batch+1, 4',
  );
  t.is(shown(slice(x, { axis: 0, start: 3 })), 'batch-3, 4');
  t.is(shown(concat([x, x, slice(x, { axis: 0, start: 1 })])), '3·batch-1, 4');
  t.is(shown(reshape(x, [-1, 2])), '2·batch, 2');
  t.is(shown(reshape(x, [-1, 8])), 'batch/2, 8');
  t.throws(() => mse(slice(x, { axis: 0, start: 1 }), x), { message: /batch-1, 4.*batch, 4/ });
});

for (const [name, loss] of Object.entries({ mse, l1, huber, bceWithLogits })) {
  test(`${name} over no elements is NaN, and its gradient is empty`, (t) => {
    const x = input([4]);
    const none = slice(x, { axis: 1, start: 4 });
    const feeds = new Map([[x, new Float32Array(8)]]);
    t.true(Number.isNaN(evaluate(loss(none, none), feeds)[0][0]));
    const { gradients } = vjp(loss(none, none), feeds, Float32Array.of(1), { wrt: [x] });
    t.deepEqual(gradients[0], new Float32Array(8));
  });
}
