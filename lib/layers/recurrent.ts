import { misshapen } from '../graph/operands.js';
import * as is from '../is.js';
import * as ops from '../ops/recurrent.js';
import { reshape, slice } from '../ops/shapes.js';
import { weightInitializer } from './initializers.js';
import { type Layer, makeLayer } from './layer.js';

/** Options of lstm and gru. */
export interface RecurrentOptions {
  /** Whether the states after every step are the result, or the last one alone (the default). */
  sequence?: boolean;
  /** Begins the names of its parameters; `lstm`, `lstm_1`, ... or `gru`, ... by default. */
  name?: string;
}

/**
 * Long short-term memory: from `[batch, time, in]` to the state after the last step,
 * `[batch, units]`, or with `sequence` to those after every step, `[batch, time, units]`. States
 * start at zero. Parameters, as in torch.nn.LSTM: `weightIh` [4 * units, in], `weightHh` [4 * units,
 * units], `biasIh` and `biasHh` [4 * units], with gates in the order i, f, g, o. Hochreiter and
 * Schmidhuber, "Long Short-Term Memory" (1997). Throws ERR_ARGUMENT; when called, ERR_SHAPE and
 * ERR_DTYPE.
 */
export function lstm(units: number, options?: RecurrentOptions): Layer;
export function lstm(units: number, options?: RecurrentOptions, ...more: unknown[]): Layer {
  is.lastArgument(more, 'lstm');
  return recurrent('lstm', 4, ops.lstm, units, options);
}

/**
 * Gated recurrent units: from `[batch, time, in]` to the state after the last step, `[batch,
 * units]`, or with `sequence` to those after every step, `[batch, time, units]`. States start at
 * zero. Parameters, as in torch.nn.GRU: `weightIh` [3 * units, in], `weightHh` [3 * units, units],
 * `biasIh` and `biasHh` [3 * units], with gates in the order r, z, n. Cho et al., "Learning Phrase
 * Representations using RNN Encoder-Decoder for Statistical Machine Translation" (2014). Throws
 * ERR_ARGUMENT; when called, ERR_SHAPE and ERR_DTYPE.
 */
export function gru(units: number, options?: RecurrentOptions): Layer;
export function gru(units: number, options?: RecurrentOptions, ...more: unknown[]): Layer {
  is.lastArgument(more, 'gru');
  return recurrent('gru', 3, ops.gru, units, options);
}

function recurrent(
  type: 'lstm' | 'gru',
  gates: number,
  states: typeof ops.lstm,
  units: number,
  options: RecurrentOptions | undefined,
): Layer {
  is.integer(units, 'units', 1);
  const set = is.options(options, `options of ${type}`, ['sequence', 'name']);
  const sequence = set.sequence !== undefined && is.boolean(set.sequence, 'sequence');
  const start = weightInitializer('pytorch', units, units);
  return makeLayer(type, set.name, (own, x) => {
    const [, time, count] = x.shape;
    if (x.shape.length !== 3 || typeof time !== 'number' || typeof count !== 'number') {
      throw misshapen(type, 'x [batch, time, in] of a fixed time', { x });
    }
    const rows = gates * units;
    const y = states(
      x,
      own.parameter('weightIh', [rows, count], start),
      own.parameter('weightHh', [rows, units], start),
      own.parameter('biasIh', [rows], start),
      own.parameter('biasHh', [rows], start),
    );
    // Counted from the end, it is the last at every length: see graph/carry.ts.
    return sequence ? y : reshape(slice(y, { axis: 1, start: -1 }), [-1, units]);
  });
}
