// One-off runs of a graph on the calling thread, for `tandem-ml/autodiff` and tests.
#pragma once

#include "core/model.h"
#include "core/precision.h"

namespace tandem {

struct EvaluateOptions {
  bool training = false;
  uint64_t seed = 0;
  int threads = 0;
  Precision precision = Precision::kFloat32;
};

/// `feeds`: one pointer a graph input. Each output is in memory of the host, made by the call.
struct Evaluation {
  std::vector<Tensor> tensors;
  std::vector<Memory> outputs;
};
Evaluation evaluate(const GraphDescription& graph, int64_t batch,
                    const std::vector<const void*>& feeds, const EvaluateOptions& options,
                    const Backend& backend);

/// Outputs, followed by the gradients of the values numbered `wrt` in the description.
/// `cotangents`: one pointer an output, null for none.
Evaluation vjp(const GraphDescription& graph, int64_t batch, const std::vector<const void*>& feeds,
               const std::vector<const float*>& cotangents, const std::vector<int64_t>& wrt,
               const EvaluateOptions& options, const Backend& backend);

}  // namespace tandem
