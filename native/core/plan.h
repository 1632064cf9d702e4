// A plan: a graph whose every value has its place in memory. It belongs to no device; a backend
// turns it into an Executable.
#pragma once

#include <cstdint>
#include <vector>

#include "core/graph.h"

namespace tandem {

enum class Space : uint8_t {
  kNone,
  kArena,       ///< scratch of this plan: activations, temporary gradients, workspaces
  kParameters,  ///< the model's parameters
  kGradients,   ///< mirrors kParameters
  kOptimizer,   ///< slots, each mirroring kParameters
  kConstants,   ///< constants of the graph, `index` counts them
  kInput,       ///< the caller's memory, `index` counts inputs
  kOutput,      ///< the caller's memory, `index` counts outputs
};

struct Place {
  Space space = Space::kNone;
  int32_t index = 0;
  int64_t offset = 0;  ///< in bytes
};

/// Every buffer starts on a cache line, which is also the widest vector.
inline constexpr int64_t kAlignment = 64;
constexpr int64_t align_up(int64_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

/// Where each parameter lies in the parameter arena.
struct ParameterLayout {
  std::vector<int64_t> offsets;  ///< in bytes, by parameter
  int64_t bytes = 0;             ///< of the whole arena
  int64_t trainable_bytes = 0;   ///< trainable parameters come first; the optimizer sweeps these
};

struct Plan {
  Graph graph;
  std::vector<Place> places;        ///< by value
  std::vector<int64_t> workspaces;  ///< by node: offset in the arena; -1 when it needs none
  int64_t arena_bytes = 0;
};

/// A value whose place is given: an output, or a parameter's gradient.
struct Pin {
  ValueId value;
  Place place;
};

class Backend;

/// Gives every pin a value of its own that a kernel writes: leaves, reshapes of leaves and values
/// pinned twice are copied by nodes at the end of the graph.
void separate_pins(Graph& graph, std::vector<Pin>& pins);

/// Fixes a place for every value: lifetimes share one arena, in place where the last reader allows.
/// `pins` are computed where they say; the graph's outputs go to Space::kOutput. `frozen`: the plan
/// will be compiled with frozen weights.
Plan make_plan(Graph graph, const ParameterLayout& layout, std::vector<Pin> pins,
               const Backend& backend, bool frozen = false);

}  // namespace tandem
