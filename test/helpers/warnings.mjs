/**
 * Warnings of listeners from now on, to be looked at when others have had their turn. Others are of
 * Node.js.
 * @param {import('ava').ExecutionContext} t
 */
export function listenerWarnings(t) {
  /** @type {Error[]} */
  const warnings = [];
  /** @param {Error} warning */
  const listen = (warning) => {
    if (warning.name === 'MaxListenersExceededWarning') warnings.push(warning);
  };
  process.on('warning', listen);
  t.teardown(() => process.off('warning', listen));
  return warnings;
}
