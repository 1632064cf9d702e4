#include "core/simplify.h"

#include <algorithm>
#include <cstring>

#include "core/plan.h"

namespace tandem {
namespace {

bool is_equal(const Node& a, const Node& b) {
  return a.op == b.op && a.inputs == b.inputs && a.quantization == b.quantization &&
         a.outputs.size() == b.outputs.size() && a.attributes.bytes == b.attributes.bytes;
}

/// Numbers that become a parameter.
struct Folded {
  Tensor tensor;
  std::vector<std::byte> data;
};

/// The place of `one` among the parameters that are added; it is appended unless it is there.
size_t place_of(std::vector<Folded>& all, Folded one) {
  size_t i = 0;
  while (i < all.size() && !(same_shape(all[i].tensor, one.tensor) && all[i].data == one.data)) ++i;
  if (i == all.size()) all.push_back(std::move(one));
  return i;
}

/// One pass over a description, whose values are numbers: inputs, then parameters, constants and
/// nodes.
class ConstantFolder {
 public:
  /// `alone`: no other graph has the same parameters.
  ConstantFolder(GraphDescription& graph, const ParameterLayout& layout, const Memory& host,
                 bool alone)
      : graph_(graph), layout_(layout), host_(host), alone_(alone) {}

  /// Computes what can be folded, and appends it to `all` where it is not there yet.
  void compute(std::vector<Folded>& all) {
    shapes_ = instantiate(graph_, kSampleRows, false, &ids_);
    known_.assign(graph_.nodes.size(), false);
    for (size_t i = 0; i < graph_.nodes.size(); ++i) known_[i] = is_known(i);
    find_results();
    if (results_.empty()) return;
    std::vector<std::vector<std::byte>> values = run();
    for (size_t i = 0; i < results_.size(); ++i)
      places_.push_back(place_of(all, {tensor(first_node() + results_[i]), std::move(values[i])}));
  }

  /// Puts parameters in place of nodes.
  void replace(const std::vector<Folded>& all) {
    const std::vector<int64_t> numbers = renumbered(all.size());
    std::vector<NodeDescription> nodes;
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      if (known_[i]) continue;
      nodes.push_back(std::move(graph_.nodes[i]));
      for (int64_t& input : nodes.back().inputs) {
        if (input != -1) input = numbers[static_cast<size_t>(input)];
      }
    }
    for (int64_t& output : graph_.outputs) output = numbers[static_cast<size_t>(output)];
    for (size_t i = 0; i < all.size(); ++i) {
      ParameterDescription parameter;
      parameter.name = "folded " + std::to_string(i);
      parameter.shape = shape_of(all[i].tensor);
      parameter.trainable = false;
      graph_.parameters.push_back(std::move(parameter));
    }
    graph_.nodes = std::move(nodes);
  }

 private:
  [[nodiscard]] size_t first_parameter() const { return graph_.inputs.size(); }
  [[nodiscard]] size_t first_constant() const {
    return first_parameter() + graph_.parameters.size();
  }
  [[nodiscard]] size_t first_node() const { return first_constant() + graph_.constants.size(); }
  [[nodiscard]] const Tensor& tensor(size_t number) const { return shapes_.tensor(ids_[number]); }

  [[nodiscard]] bool is_known(size_t index) const {
    const NodeDescription& node = graph_.nodes[index];
    const std::optional<Op> op = find_op(node.op);
    const bool plain = op && (info(*op).flags & (kEffect | kTrainingOnly)) == 0;
    if (!plain || node.quantization != nullptr || node.inputs.empty()) return false;
    // a table that is cut to several lengths stays one
    if (op == Op::slice && !alone_) return false;
    int64_t read = 0;
    for (const int64_t input : node.inputs) {
      if (input == -1) continue;
      const auto number = static_cast<size_t>(input);
      if (number < first_parameter()) return false;
      if (number >= first_node() && !known_[number - first_node()]) return false;
      read = checked_add(read, byte_size(tensor(number)));
    }
    constexpr int64_t kSmall = 65536;
    const Tensor& result = tensor(first_node() + index);
    return result.dtype == DType::kFloat32 && result.numel > 0 &&
           byte_size(result) <= std::max(kSmall, read);
  }

  /// Known nodes that others read.
  void find_results() {
    const auto read = [&](int64_t input) {
      if (input < static_cast<int64_t>(first_node())) return;
      const size_t index = static_cast<size_t>(input) - first_node();
      if (known_[index] && std::find(results_.begin(), results_.end(), index) == results_.end())
        results_.push_back(index);
    };
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      if (known_[i]) continue;
      for (const int64_t input : graph_.nodes[i].inputs) read(input);
    }
    for (const int64_t output : graph_.outputs) read(output);
  }

  /// Nodes with effects, such as those that fill caches, count as read and themselves read inputs.
  static void drop_effects(Graph& graph) {
    std::vector<size_t> kept;
    for (size_t i = 0; i < graph.nodes.size(); ++i) {
      if ((info(graph.nodes[i].op).flags & kEffect) == 0) kept.push_back(i);
    }
    graph.reorder(kept);
  }

  [[nodiscard]] std::vector<std::vector<std::byte>> run() const {
    Graph graph = shapes_;
    graph.outputs.clear();
    for (const size_t index : results_) graph.outputs.push_back(ids_[first_node() + index]);
    drop_effects(graph);
    graph.remove_dead_nodes();
    const Plan plan = make_plan(std::move(graph), layout_, {}, cpu_backend());
    const auto executable = cpu_backend().compile({plan, {host_.data.get(), nullptr, nullptr}});
    const Memory arena = cpu_backend().allocate(plan.arena_bytes);
    executable->bind_arena(arena.data.get());
    std::vector<std::vector<std::byte>> values;
    for (const size_t index : results_)
      values.emplace_back(static_cast<size_t>(byte_size(tensor(first_node() + index))));
    for (size_t i = 0; i < values.size(); ++i) executable->bind_output(i, values[i].data());
    StepState state{};
    executable->run(state);
    return values;
  }

  /// New numbers of all values; -1 for those that are gone.
  [[nodiscard]] std::vector<int64_t> renumbered(size_t added) const {
    std::vector<int64_t> numbers(first_node() + graph_.nodes.size(), -1);
    for (size_t i = 0; i < first_node(); ++i)
      numbers[i] = static_cast<int64_t>(i < first_constant() ? i : i + added);
    int64_t next = static_cast<int64_t>(first_node() + added);
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      if (!known_[i]) numbers[first_node() + i] = next++;
    }
    for (size_t i = 0; i < results_.size(); ++i)
      numbers[first_node() + results_[i]] = static_cast<int64_t>(first_constant() + places_[i]);
    return numbers;
  }

  GraphDescription& graph_;
  const ParameterLayout& layout_;
  const Memory& host_;
  bool alone_;
  Graph shapes_;
  std::vector<ValueId> ids_;
  std::vector<char> known_;
  std::vector<size_t> results_;  ///< indices of nodes
  std::vector<size_t> places_;   ///< of each of them, among what is folded
};

/// Puts what is folded behind the other parameters, in memory that is made for all of them.
void append(const std::vector<ParameterDescription>& parameters, const std::vector<Folded>& folded,
            ParameterLayout& layout, Memory& host) {
  const size_t before = parameters.size() - folded.size();
  ParameterLayout fresh = make_layout(parameters);
  Memory memory = cpu_backend().allocate(fresh.bytes);
  for (size_t i = 0; i < parameters.size(); ++i) {
    const Tensor shape = stored_tensor(parameters[i]);
    const std::byte* from =
        i < before ? host.data.get() + layout.offsets[i] : folded[i - before].data.data();
    if (shape.numel > 0)
      std::memcpy(memory.data.get() + fresh.offsets[i], from,
                  static_cast<size_t>(byte_size(shape)));
  }
  layout = std::move(fresh);
  host = std::move(memory);
}

/// Of constants with the same numbers all readers read the first.
void share_equal_constants(Graph& graph) {
  for (size_t i = 0; i < graph.constants.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      const Constant& first = graph.constant_data[j];
      const Constant& second = graph.constant_data[i];
      if (first.tensor.dtype != second.tensor.dtype || !same_shape(first.tensor, second.tensor) ||
          first.data != second.data)
        continue;
      graph.replace_uses(graph.constants[i], graph.constants[j]);
      break;
    }
  }
}

}  // namespace

void share_equal_nodes(Graph& graph) {
  share_equal_constants(graph);
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    if ((info(graph.nodes[i].op).flags & (kEffect | kReadsState | kWritesState)) != 0) continue;
    for (size_t j = 0; j < i; ++j) {
      if (!is_equal(graph.nodes[j], graph.nodes[i])) continue;
      for (size_t k = 0; k < graph.nodes[i].outputs.size(); ++k)
        graph.replace_uses(graph.nodes[i].outputs[k], graph.nodes[j].outputs[k]);
      break;
    }
  }
  graph.remove_dead_nodes();
}

void fold_constants(std::vector<GraphDescription>& graphs, ParameterLayout& layout, Memory& host) {
  std::vector<Folded> folded;
  std::vector<ConstantFolder> folders;
  for (GraphDescription& graph : graphs) {
    folders.emplace_back(graph, layout, host, graphs.size() == 1);
    folders.back().compute(folded);
  }
  if (folded.empty()) return;
  for (ConstantFolder& folder : folders) folder.replace(folded);
  append(graphs.front().parameters, folded, layout, host);
}

}  // namespace tandem
