#include "core/plan.h"

#include <algorithm>
#include <numeric>

#include "core/backend.h"

namespace tandem {
namespace {

bool is_alias(const Node& node) { return (info(node.op).flags & kAlias) != 0; }

/// A piece of the arena and the nodes between which it is in use.
struct Buffer {
  int64_t bytes;
  int32_t first;
  int32_t last;
  int64_t offset = -1;
};

/// Values that share memory: a value, its reshapes, and results computed in place of it.
class Classes {
 public:
  explicit Classes(size_t count) : parent_(count) { std::iota(parent_.begin(), parent_.end(), 0); }
  ValueId find(ValueId id) const {
    while (parent_[static_cast<size_t>(id)] != id) id = parent_[static_cast<size_t>(id)];
    return id;
  }
  void join(ValueId child, ValueId root) { parent_[static_cast<size_t>(find(child))] = find(root); }

 private:
  std::vector<ValueId> parent_;
};

class Planner {
 public:
  Planner(Plan& plan, const ParameterLayout& layout, const std::vector<Pin>& pins,
          const Backend& backend, bool frozen)
      : plan_(plan),
        graph_(plan.graph),
        layout_(layout),
        backend_(backend),
        frozen_(frozen),
        classes_(graph_.values.size()),
        last_use_(graph_.values.size(), -1),
        bytes_(graph_.values.size(), 0) {
    plan_.places.assign(graph_.values.size(), {});
    pinned_.assign(graph_.values.size(), 0);
    place_leaves();
    join_aliases();
    for (const Pin& pin : pins) {
      const ValueId root = classes_.find(pin.value);
      plan_.places[static_cast<size_t>(root)] = pin.place;
      pinned_[static_cast<size_t>(root)] = 1;
    }
    measure_lifetimes();
  }

  void run() {
    collect_buffers();
    plan_.arena_bytes = assign_offsets();
    for (size_t i = 0; i < graph_.values.size(); ++i) {
      const ValueId root = classes_.find(static_cast<ValueId>(i));
      if (root != static_cast<ValueId>(i))
        plan_.places[i] = plan_.places[static_cast<size_t>(root)];
    }
    for (size_t i = 0; i < graph_.values.size(); ++i) {
      const int32_t buffer =
          buffer_of_[static_cast<size_t>(classes_.find(static_cast<ValueId>(i)))];
      if (buffer >= 0)
        plan_.places[i] = {Space::kArena, 0, buffers_[static_cast<size_t>(buffer)].offset};
    }
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      if (workspace_of_[i] >= 0) {
        plan_.workspaces[i] = buffers_[static_cast<size_t>(workspace_of_[i])].offset;
      }
    }
  }

 private:
  void place_leaves() {
    for (size_t i = 0; i < graph_.values.size(); ++i) {
      const Value& value = graph_.values[i];
      Place& place = plan_.places[i];
      const auto index = static_cast<size_t>(value.index);
      switch (value.kind) {
        case ValueKind::kInput:
          place = {Space::kInput, value.index, 0};
          break;
        case ValueKind::kParameter:
          place = {Space::kParameters, value.index, layout_.offsets[index]};
          break;
        case ValueKind::kConstant:
          place = {Space::kConstants, value.index, 0};
          break;
        case ValueKind::kArena:
          place = {static_cast<Space>(static_cast<int>(Space::kParameters) + value.index), 0,
                   value.offset};
          break;
        case ValueKind::kNode:
          bytes_[i] = align_up(std::max<int64_t>(byte_size(value.tensor), 1));
          break;
      }
    }
  }

  void join_aliases() {
    for (const Node& node : graph_.nodes) {
      if (is_alias(node)) classes_.join(node.outputs[0], node.inputs[0]);
    }
  }

  void measure_lifetimes() {
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      for (const ValueId id : graph_.nodes[i].inputs) {
        if (id != kNoValue)
          last_use_[static_cast<size_t>(classes_.find(id))] = static_cast<int32_t>(i);
      }
    }
  }

  [[nodiscard]] bool in_arena(ValueId root) const {
    return graph_.value(root).kind == ValueKind::kNode && pinned_[static_cast<size_t>(root)] == 0;
  }

  /// Whether a node also reads this memory as an input that output 0 may not overwrite.
  [[nodiscard]] bool is_read_elsewhere(const Node& node, ValueId root, uint32_t allowed) const {
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const bool may = i < 32 && (allowed >> i & 1U) != 0;
      if (!may && node.inputs[i] != kNoValue && classes_.find(node.inputs[i]) == root) return true;
    }
    return false;
  }

  /// The input whose memory output 0 of this node may take over, or kNoValue.
  [[nodiscard]] ValueId in_place_source(const Node& node, int32_t index) const {
    const ValueId out = classes_.find(node.outputs[0]);
    if (!in_arena(out)) return kNoValue;
    const uint32_t allowed = info(node.op).in_place;
    for (size_t i = 0; i < node.inputs.size() && i < 32; ++i) {
      if ((allowed >> i & 1U) == 0 || node.inputs[i] == kNoValue) continue;
      const ValueId root = classes_.find(node.inputs[i]);
      const bool dies_here = last_use_[static_cast<size_t>(root)] == index;
      if (is_read_elsewhere(node, root, allowed)) continue;
      const Tensor& from = graph_.tensor(node.inputs[i]);
      const Tensor& to = graph_.tensor(node.outputs[0]);
      const bool same_size = from.numel == to.numel &&
                             element_size(from.dtype) == element_size(to.dtype) &&
                             from.padding == to.padding;
      if (in_arena(root) && dies_here && same_size &&
          bytes_[static_cast<size_t>(root)] == bytes_[static_cast<size_t>(out)]) {
        return root;
      }
    }
    return kNoValue;
  }

  void collect_buffers() {
    buffer_of_.assign(graph_.values.size(), -1);
    workspace_of_.assign(graph_.nodes.size(), -1);
    plan_.workspaces.assign(graph_.nodes.size(), -1);
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      const Node& node = graph_.nodes[i];
      if (is_alias(node)) continue;
      const auto index = static_cast<int32_t>(i);
      if (!node.outputs.empty()) {
        const ValueId source = in_place_source(node, index);
        if (source != kNoValue) take_over(node.outputs[0], source, index);
      }
      for (const ValueId id : node.outputs) {
        const ValueId root = classes_.find(id);
        if (!in_arena(root) || buffer_of_[static_cast<size_t>(root)] >= 0) continue;
        buffer_of_[static_cast<size_t>(root)] = static_cast<int32_t>(buffers_.size());
        buffers_.push_back({bytes_[static_cast<size_t>(root)], index,
                            std::max(index, last_use_[static_cast<size_t>(root)])});
      }
      const int64_t workspace = backend_.workspace_bytes(graph_, node, frozen_);
      if (workspace > 0) {
        workspace_of_[i] = static_cast<int32_t>(buffers_.size());
        buffers_.push_back({align_up(workspace), index, index});
      }
    }
  }

  void take_over(ValueId out, ValueId source, int32_t index) {
    const int32_t last = std::max(index, last_use_[static_cast<size_t>(classes_.find(out))]);
    classes_.join(out, source);
    last_use_[static_cast<size_t>(source)] = last;
    Buffer& buffer = buffers_[static_cast<size_t>(buffer_of_[static_cast<size_t>(source)])];
    buffer.last = std::max(buffer.last, last);
  }

  /// Largest first, each at the lowest offset that is free during its whole life.
  int64_t assign_offsets() {
    std::vector<size_t> order(buffers_.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return buffers_[a].bytes > buffers_[b].bytes; });
    std::vector<const Buffer*> placed;  // by offset
    int64_t total = 0;
    for (const size_t i : order) {
      Buffer& buffer = buffers_[i];
      int64_t offset = 0;
      for (const Buffer* other : placed) {
        const bool together = other->first <= buffer.last && buffer.first <= other->last;
        if (!together) continue;
        if (other->offset >= checked_add(offset, buffer.bytes)) break;
        offset = std::max(offset, other->offset + other->bytes);
      }
      buffer.offset = offset;
      total = std::max(total, checked_add(offset, buffer.bytes));
      placed.insert(
          std::upper_bound(placed.begin(), placed.end(), &buffer,
                           [](const Buffer* a, const Buffer* b) { return a->offset < b->offset; }),
          &buffer);
    }
    return total;
  }

  Plan& plan_;
  const Graph& graph_;
  const ParameterLayout& layout_;
  const Backend& backend_;
  bool frozen_;
  Classes classes_;
  std::vector<int32_t> last_use_;
  std::vector<int64_t> bytes_;
  std::vector<char> pinned_;
  std::vector<Buffer> buffers_;
  std::vector<int32_t> buffer_of_;
  std::vector<int32_t> workspace_of_;
};

}  // namespace

void separate_pins(Graph& graph, std::vector<Pin>& pins) {
  std::vector<char> taken(graph.values.size(), 0);
  for (Pin& pin : pins) {
    ValueId root = pin.value;
    for (const Node* node = graph.producer(root); node != nullptr && is_alias(*node);
         node = graph.producer(root)) {
      root = node->inputs[0];
    }
    const bool is_leaf = graph.producer(root) == nullptr;
    if (is_leaf || taken[static_cast<size_t>(root)] != 0) {
      pin.value = graph.apply(Op::copy, {pin.value});
    } else {
      taken[static_cast<size_t>(root)] = 1;
    }
  }
}

void check_supported(const Graph& graph, const Backend& backend) {
  for (const Node& node : graph.nodes) {
    if (is_alias(node) || backend.supports(node.op)) continue;
    fail(ErrorCode::kDevice, std::string("expected ops that run on ") + backend.name() +
                                 ", received " + name(node.op) +
                                 "; device \"cpu\" runs all of them");
  }
}

Plan make_plan(Graph graph, const ParameterLayout& layout, std::vector<Pin> pins,
               const Backend& backend, bool frozen) {
  check_supported(graph, backend);
  for (size_t i = 0; i < graph.outputs.size(); ++i) {
    pins.push_back({graph.outputs[i], {Space::kOutput, static_cast<int32_t>(i), 0}});
  }
  separate_pins(graph, pins);
  Plan plan{std::move(graph), {}, {}, 0};
  Planner planner(plan, layout, pins, backend, frozen);
  planner.run();
  return plan;
}

}  // namespace tandem
