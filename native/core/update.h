// The optimizer's part of a training step, as nodes of its graph.
#pragma once

#include <vector>

#include "core/model.h"
#include "core/plan.h"

namespace tandem {

struct UpdateOptions {
  Op optimizer;
  AttributeStorage attributes;
  double max_gradient_norm;  ///< 0: no clipping
  bool check_numerics;
  bool on_the_way;  ///< see Backend::updates_on_the_way
};

/// Slots of optimizer state, each as large as the trainable parameters.
int optimizer_slots(Op optimizer, const AttributeStorage& attributes);

/// Floats of the optimizer's arena: the slots, then sums of squares of gradients.
int64_t optimizer_floats(const std::vector<ParameterDescription>& parameters,
                         const ParameterLayout& layout, const UpdateOptions& options);

/// Appends the optimizer, and what moves running statistics on, to a graph with gradients. `pins`
/// says which values these are, by the number of their parameter; those of gradients that are never
/// stored are taken out.
///
/// Where updates depend on the norm of all gradients, they follow it as one sweep. Otherwise the
/// norm is found while they are made: in one sweep, or on the way. Then each parameter is updated
/// as soon as its gradient is there and nothing else reads it, the large ones by the tiles of the
/// product that computes the gradient.
void add_updates(Graph& graph, std::vector<Pin>& pins, ValueId loss,
                 const std::vector<ParameterDescription>& parameters, const ParameterLayout& layout,
                 const UpdateOptions& options);

}  // namespace tandem
