// What quantize() asks before it builds a graph: which nodes read and pass bytes on, and the steps
// of each value that becomes bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/graph.h"

namespace tandem::quantized {

/// What a byte stands for: (byte - zero) * scale.
struct Steps {
  float scale;
  int32_t zero;
  bool operator==(const Steps&) const = default;
};

bool is_linear(const Node& node);
bool is_convolution(const Node& node);
bool is_recurrent(const Node& node);

/// Whether a product gives its value before the activation, too.
inline bool saves_pre(const Node& node) { return node.outputs.size() > 1; }

/// Whether bytes may go through a node that is not a product: it commutes with rounding.
bool passes_bytes(const Node& node);

/// Whether a node can read bytes in whatever steps they come: additions of values of one shape and
/// means of windows and of planes, where the device has addBytes and averagePoolBytes.
bool reads_any_steps(const Graph& graph, const Node& node);

/// Whether a node takes the mean of each plane of images of this rank.
bool means_planes(const Graph& graph, const Node& node, int32_t rank);

/// Throws ERR_ARGUMENT for a node that cannot be quantized as it says.
void check(const Graph& graph, const Node& node);

/// For each value of `graph`, whose nodes are these, the steps that all of its readers agree on.
/// With `sums_of_bytes` those that take any are not asked.
std::vector<std::optional<Steps>> find_targets(const Graph& graph, const std::vector<Node>& nodes,
                                               bool sums_of_bytes);

}  // namespace tandem::quantized
