// Ops whose elements do not know of each other.

/** Those of one value. */
export const unary: ReadonlySet<string> = new Set(
  'relu gelu geluTanh silu sigmoid tanh leakyRelu elu softplus hardSwish hardSigmoid mish exp log sqrt rsqrt abs neg square reciprocal sin cos erf clamp'.split(
    ' ',
  ),
);

/** Those of several, whose shapes broadcast. */
export const elementwise: ReadonlySet<string> = new Set(
  'add sub mul div pow maximum minimum where'.split(' '),
);
