#include "core/recompute.h"

#include <algorithm>

#include "core/ops/batch_norm.h"

namespace tandem {
namespace {

/// By node: whether the graph's outputs depend on it.
std::vector<char> forward_nodes(const Graph& graph) {
  std::vector<char> forward(graph.nodes.size(), 0);
  std::vector<char> live(graph.values.size(), 0);
  for (const ValueId id : graph.outputs) live[static_cast<size_t>(id)] = 1;
  for (size_t i = graph.nodes.size(); i-- > 0;) {
    for (const ValueId id : graph.nodes[i].outputs) {
      if (live[static_cast<size_t>(id)] != 0) forward[i] = 1;
    }
    if (forward[i] == 0) continue;
    for (const ValueId id : graph.nodes[i].inputs) {
      if (id != kNoValue) live[static_cast<size_t>(id)] = 1;
    }
  }
  return forward;
}

class Recompute {
 public:
  explicit Recompute(Graph& graph)
      : graph_(graph),
        is_forward_(forward_nodes(graph)),
        is_read_(graph.values.size(), 0),
        last_use_(graph.values.size(), -1) {
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      if (is_forward_[i] != 0) forward_.push_back(i);
    }
    place_.assign(graph_.nodes.size(), 0);
    for (size_t i = 0; i < forward_.size(); ++i) place_[forward_[i]] = static_cast<int64_t>(i);
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      for (const ValueId id : graph_.nodes[i].inputs) {
        if (id != kNoValue) note_use(id, i);
      }
    }
  }

  void run(int segments) {
    cut(segments);
    const size_t nodes = graph_.nodes.size();
    copy_of_.assign(graph_.values.size(), kNoValue);
    for (size_t i = 0; i < nodes; ++i) {
      if (is_forward_[i] == 0) {
        // by index: copies make the list of nodes move
        for (size_t k = 0; k < graph_.nodes[i].inputs.size(); ++k) {
          const ValueId id = graph_.nodes[i].inputs[k];
          if (id != kNoValue) graph_.nodes[i].inputs[k] = again(id);
        }
      }
      order_.push_back(i);
    }
    graph_.reorder(order_);
  }

 private:
  /// Notes that a node reads a value, and what that is a reshape of.
  void note_use(ValueId id, size_t node) {
    const auto value = static_cast<size_t>(id);
    if (is_forward_[node] != 0) {
      last_use_[value] = std::max(last_use_[value], place_[node]);
    } else {
      is_read_[value] = 1;
    }
    const Node* source = graph_.producer(id);
    if (source != nullptr && is_alias(*source)) note_use(source->inputs[0], node);
  }

  [[nodiscard]] int64_t bytes_of(ValueId id) const { return byte_size(graph_.tensor(id)); }

  [[nodiscard]] bool is_alias(const Node& node) const {
    return (info(node.op).flags & kAlias) != 0;
  }

  /// Ends of segments: the forward node before which one ends, in ascending order.
  void cut(int segments) {
    const size_t count = forward_.size();
    std::vector<int64_t> read(count, 0);      // bytes of it that gradients read
    std::vector<int64_t> crossing(count, 0);  // bytes alive from before it to it or later
    for (size_t i = 0; i < count; ++i) {
      const Node& node = graph_.nodes[forward_[i]];
      if (is_alias(node)) continue;
      for (const ValueId id : node.outputs) {
        const auto value = static_cast<size_t>(id);
        if (is_read_[value] != 0) read[i] += bytes_of(id);
        for (int64_t k = static_cast<int64_t>(i) + 1; k <= last_use_[value]; ++k)
          crossing[static_cast<size_t>(k)] += bytes_of(id);
      }
    }
    int64_t total = 0;
    for (const int64_t bytes : read) total += bytes;
    for (int s = 1; s < segments; ++s) {
      const auto [low, high] = window(read, total, s, segments);
      size_t best = low;
      for (size_t i = low; i <= high; ++i) {
        if (crossing[i] < crossing[best]) best = i;
      }
      if (best > (ends_.empty() ? 0 : ends_.back())) ends_.push_back(best);
    }
  }

  /// The forward nodes before which end number `s` may lie: about that share of what is read.
  [[nodiscard]] static std::pair<size_t, size_t> window(const std::vector<int64_t>& read,
                                                        int64_t total, int s, int segments) {
    const double share = static_cast<double>(total) / segments;
    const double from = (s - 0.3) * share;
    const double to = (s + 0.3) * share;
    size_t low = read.size() - 1;
    size_t high = 0;
    double before = 0;
    for (size_t i = 0; i < read.size(); ++i) {
      if (before >= from) low = std::min(low, i);
      if (before <= to) high = i;
      before += static_cast<double>(read[i]);
    }
    return {std::min(low, high), std::max(low, high)};
  }

  [[nodiscard]] size_t segment_of(int64_t place) const {
    const auto end = std::upper_bound(ends_.begin(), ends_.end(), static_cast<size_t>(place));
    return static_cast<size_t>(end - ends_.begin());
  }

  /// Whether a value stays where it is until gradients read it.
  [[nodiscard]] bool is_kept(ValueId id) const {
    const Node* node = graph_.producer(id);
    if (node == nullptr) return true;
    const auto index = static_cast<size_t>(graph_.value(id).index);
    if (index >= is_forward_.size() || is_forward_[index] == 0) return true;
    const size_t segment = segment_of(place_[index]);
    if (segment == ends_.size()) return true;
    if ((info(node->op).flags & (kEffect | kWritesState)) != 0) return true;
    if (std::find(graph_.outputs.begin(), graph_.outputs.end(), id) != graph_.outputs.end())
      return true;
    const int64_t last = last_use_[static_cast<size_t>(id)];
    return !is_alias(*node) && last >= 0 && segment_of(last) != segment;
  }

  /// What gradients read in place of a value.
  ValueId again(ValueId id) {
    // values that are appended are copies
    if (static_cast<size_t>(id) >= copy_of_.size() || is_kept(id)) return id;
    if (copy_of_[static_cast<size_t>(id)] == kNoValue) copy_node(graph_.value(id).index);
    return copy_of_[static_cast<size_t>(id)];
  }

  /// Running statistics move on once, by the first of two nodes that compute the same.
  static void take_own_statistics(Node& node) {
    auto& attributes = node.attrs<ops::BatchNorm::Attributes>();
    if (!attributes.by_batch || !attributes.running) return;
    attributes.running = false;
    node.inputs[ops::BatchNorm::kMean] = kNoValue;
    node.inputs[ops::BatchNorm::kVariance] = kNoValue;
  }

  void copy_node(int32_t index) {
    Node node = graph_.nodes[static_cast<size_t>(index)];
    if (node.op == Op::batchNorm) take_own_statistics(node);
    for (ValueId& id : node.inputs) {
      if (id != kNoValue) id = again(id);
    }
    const size_t at = graph_.nodes.size();
    for (ValueId& id : node.outputs) {
      Value value = graph_.value(id);
      value.index = static_cast<int32_t>(at);
      graph_.values.push_back(value);
      const auto copy = static_cast<ValueId>(graph_.values.size() - 1);
      copy_of_[static_cast<size_t>(id)] = copy;
      id = copy;
    }
    order_.push_back(at);
    graph_.nodes.push_back(std::move(node));
  }

  Graph& graph_;
  std::vector<char> is_forward_;
  std::vector<size_t> forward_;    ///< nodes of the forward pass
  std::vector<int64_t> place_;     ///< by node: its place among those
  std::vector<char> is_read_;      ///< by value: whether gradients read it
  std::vector<int64_t> last_use_;  ///< by value: the last place in the forward pass, or -1
  std::vector<size_t> ends_;
  std::vector<ValueId> copy_of_;  ///< by value
  std::vector<size_t> order_;
};

}  // namespace

size_t count_forward_nodes(const Graph& graph) {
  const std::vector<char> forward = forward_nodes(graph);
  return static_cast<size_t>(std::count(forward.begin(), forward.end(), char{1}));
}

void recompute_activations(Graph& graph, int segments) {
  if (segments < 2 || count_forward_nodes(graph) < 2) return;
  Recompute(graph).run(segments);
}

}  // namespace tandem
