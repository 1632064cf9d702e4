// Small causal models of tokens.
import { dense, embedding, input, layerNorm, sequential, transformerBlock } from 'tandem-ml';

/**
 * Embeddings, causal blocks, logits. Weights times `spread`: with 4 no two logits of a model that was
 * not trained are nearly the same.
 */
export function languageModel({
  vocabulary,
  time,
  positions = time,
  width = 16,
  blocks = 1,
  block = {},
  seed = 1,
  spread = 1,
}) {
  const model = sequential(
    [
      embedding(vocabulary, width, positions ? { positions } : {}),
      ...Array.from({ length: blocks }, () =>
        transformerBlock({ heads: 2, causal: true, ...block }),
      ),
      layerNorm(),
      dense(vocabulary),
    ],
    { input: input([time], { dtype: 'int32' }), seed },
  );
  if (spread === 1) return model;
  for (const { data } of model.parameters.values()) {
    for (let i = 0; i < data.length; i++) data[i] *= spread;
  }
  return model;
}
