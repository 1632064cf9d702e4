// A normalisation as our side and its peer see it.
#pragma once

#include <optional>

#include "core/shape.h"
#include "measure.h"

namespace tandem::bench {

struct Norm {
  enum Kind : uint8_t { kLayer, kBatch, kOther };
  Kind kind;
  Shape shape;  ///< of x: rows for kLayer, [n, c, h, w] for kBatch
  bool gradient;
};

/// oneDNN's primitive with weights and biases, `work` bytes a call; nothing where it has none.
std::optional<Side> onednn_norm(const Norm& norm, double work, int threads);

}  // namespace tandem::bench
