// The optimizer's part of a training step, as nodes of its graph.
#pragma once

#include <vector>

#include "core/model.h"
#include "core/plan.h"

namespace tandem {

struct UpdateOptions {
  Op optimizer;
  std::vector<AttributeStorage> groups;  ///< the optimizer's attributes, by group of parameters
  std::vector<int32_t> group_of;         ///< by parameter; kFrozen: none changes it
  double max_gradient_norm;              ///< 0: no clipping
  double max_gradient_value;             ///< 0: no clipping
  double average_decay;                  ///< of the moving averages of parameters; 0: none are kept
  bool check_numerics;
  bool scales_loss;  ///< gradients are those of a scaled loss: see core/loss_scaler.h
  bool on_the_way;   ///< see Backend::updates_on_the_way
  /// Gradients are averaged by one plan and applied by another one: see add_accumulation.
  bool apart;

  static constexpr int32_t kFrozen = -1;
};

/// Slots of optimizer state, each as large as the trainable parameters.
int optimizer_slots(Op optimizer, const AttributeStorage& attributes);

/// Where things lie in the optimizer's arena, in floats: first the slots, then room for sums of
/// squares of gradients, then the averages of the trainable parameters.
struct OptimizerLayout {
  int64_t slots = 0;    ///< how many
  int64_t squares = 0;  ///< where they begin
  int64_t averages = 0;
  int64_t floats = 0;  ///< of the whole arena
};
OptimizerLayout optimizer_layout(const std::vector<ParameterDescription>& parameters,
                                 const ParameterLayout& layout, const UpdateOptions& options);

/// Parameters that one node updates, in floats of their arena. Their state begins at slots * first,
/// each slot with `count` floats.
struct StateRange {
  int64_t first, count;
  bool operator==(const StateRange& other) const = default;
};
/// Those of a graph with updates. Which they are depends on the optimizer and on what is fused, so
/// state that outlives a Trainer is kept by slot and parameter instead.
std::vector<StateRange> state_ranges(const Graph& graph);

/// Appends the optimizer, and what moves running statistics on, to a graph with gradients. `pins`
/// says which values these are, by the number of their parameter; those of gradients that are never
/// stored are taken out.
///
/// Where updates depend on all gradients, they follow them as one sweep for each run of parameters
/// of a group. Otherwise the norm is found while they are made: in sweeps, or on the way. Then each
/// parameter is updated as soon as its gradient is there and nothing else reads it, the large ones
/// by the tiles of the product that computes the gradient.
void add_updates(Graph& graph, std::vector<Pin>& pins, ValueId loss,
                 const std::vector<ParameterDescription>& parameters, const ParameterLayout& layout,
                 const UpdateOptions& options);

/// In place of add_updates where they are `apart`: adds the gradients to the sums of the step,
/// which lie behind them in their arena.
void add_accumulation(Graph& graph, ValueId loss, const ParameterLayout& layout,
                      const UpdateOptions& options);

/// What follows: a graph that updates the parameters with the means.
Graph update_graph(const std::vector<ParameterDescription>& parameters,
                   const ParameterLayout& layout, const UpdateOptions& options);

}  // namespace tandem
