// Forward pass, gradients and optimizer as one graph.
#pragma once

#include <vector>

#include "core/update.h"

namespace tandem {

/// Appends the gradients of output 0, or of it by StepState::loss_scale, with respect to the
/// parameters that a group has; one value a parameter, kNoValue for the others and where nothing
/// depends on it.
std::vector<ValueId> add_parameter_gradients(Graph& graph, const GraphDescription& description,
                                             const std::vector<int32_t>& group_of,
                                             bool scales_loss);

/// The graph of a training step of `batch` rows; `pins` says which values are gradients that are
/// stored. With `options.apart` it ends by taking them into a mean. `segments` of 2 and more: see
/// recompute_activations. What is fused depends on what `backend` can do.
Graph training_graph(const GraphDescription& description, int64_t batch,
                     const ParameterLayout& layout, const UpdateOptions& options, int segments,
                     const Backend& backend, std::vector<Pin>& pins);

/// The numbers of segments worth trying for a graph whose forward pass has so many nodes.
std::vector<int> segment_counts(size_t forward_nodes);

}  // namespace tandem
