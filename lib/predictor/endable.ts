/**
 * An async generator whose return() and throw() end a wait at once: the language's own come only
 * after a pending next(). `end` lets that one settle.
 */
export function endable<T>(
  generator: AsyncGenerator<T, void, undefined>,
  end: () => void,
): AsyncGenerator<T, void, undefined> {
  const made = Object.create(generator) as AsyncGenerator<T, void, undefined>;
  const methods = {
    next: () => generator.next(),
    return: (value: void | PromiseLike<void>) => {
      end();
      return generator.return(value);
    },
    throw: (error: unknown) => {
      end();
      return generator.throw(error);
    },
    [Symbol.asyncIterator]: () => made,
  };
  return Object.assign(made, methods);
}
