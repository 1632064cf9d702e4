// A graph anew with other values in the place of some.
import { apply } from './apply.js';
import { definition, type Value } from './value.js';

/**
 * What makes of each value the one that it would be with other inputs: `others` has what stands for
 * what. Values that do not depend on those stay as they are.
 */
export function substitution(others: ReadonlyMap<Value, Value>): (value: Value) => Value {
  const known = new Map(others);
  const open: Value[] = [];
  // Without recursion: graphs are deeper than stacks.
  return (wanted) => {
    open.push(wanted);
    for (let value = open.at(-1); value !== undefined; value = open.at(-1)) {
      const { source } = definition(value);
      const operands = source.kind === 'output' ? source.node.inputs : [];
      const missing = operands.filter((operand) => operand !== null && !known.has(operand));
      if (known.has(value) || missing.length === 0) {
        if (!known.has(value)) known.set(value, remade(value, known));
        open.pop();
      } else {
        for (const operand of missing) if (operand) open.push(operand);
      }
    }
    return known.get(wanted) ?? wanted;
  };
}

function remade(value: Value, known: ReadonlyMap<Value, Value>): Value {
  const { source } = definition(value);
  if (source.kind !== 'output') return value;
  const { op, inputs, attributes } = source.node;
  const operands = inputs.map((operand) => operand && (known.get(operand) ?? operand));
  const same = operands.every((operand, i) => operand === inputs[i]);
  return same ? value : apply(op, operands, attributes);
}
