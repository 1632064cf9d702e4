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

/// One pass over a description, whose values are numbers: inputs, then parameters, constants and
/// nodes.
class ConstantFolder {
 public:
  ConstantFolder(GraphDescription& graph, ParameterLayout& layout, Memory& host)
      : graph_(graph), layout_(layout), host_(host) {}

  void run() {
    shapes_ = instantiate(graph_, 1, false, &ids_);
    known_.assign(graph_.nodes.size(), false);
    for (size_t i = 0; i < graph_.nodes.size(); ++i) known_[i] = is_known(i);
    find_results();
    if (results_.empty()) return;
    const std::vector<std::vector<std::byte>> values = compute();
    replace(values);
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

  [[nodiscard]] std::vector<std::vector<std::byte>> compute() const {
    Graph graph = shapes_;
    graph.outputs.clear();
    for (const size_t index : results_) graph.outputs.push_back(ids_[first_node() + index]);
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

  /// Puts parameters in place of nodes.
  void replace(const std::vector<std::vector<std::byte>>& values) {
    std::vector<int64_t> numbers = renumbered();
    std::vector<NodeDescription> nodes;
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      if (known_[i]) continue;
      nodes.push_back(std::move(graph_.nodes[i]));
      for (int64_t& input : nodes.back().inputs) {
        if (input != -1) input = numbers[static_cast<size_t>(input)];
      }
    }
    for (int64_t& output : graph_.outputs) output = numbers[static_cast<size_t>(output)];
    const size_t before = graph_.parameters.size();
    for (const size_t index : results_) {
      ParameterDescription parameter;
      parameter.name = "folded " + std::to_string(index);
      parameter.shape = shape_of(tensor(first_node_before_ + index));
      parameter.trainable = false;
      graph_.parameters.push_back(std::move(parameter));
    }
    graph_.nodes = std::move(nodes);
    copy_parameters(before, values);
  }

  /// New numbers of all values; -1 for those that are gone.
  std::vector<int64_t> renumbered() {
    first_node_before_ = first_node();
    std::vector<int64_t> numbers(first_node() + graph_.nodes.size(), -1);
    const size_t added = results_.size();
    for (size_t i = 0; i < first_node(); ++i)
      numbers[i] = static_cast<int64_t>(i < first_constant() ? i : i + added);
    int64_t next = static_cast<int64_t>(first_node() + added);
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      if (!known_[i]) numbers[first_node() + i] = next++;
    }
    for (size_t i = 0; i < added; ++i)
      numbers[first_node() + results_[i]] = static_cast<int64_t>(first_constant() + i);
    return numbers;
  }

  void copy_parameters(size_t before, const std::vector<std::vector<std::byte>>& values) {
    ParameterLayout layout = make_layout(graph_.parameters);
    Memory memory = cpu_backend().allocate(layout.bytes);
    for (size_t i = 0; i < graph_.parameters.size(); ++i) {
      const Tensor shape = stored_tensor(graph_.parameters[i]);
      const std::byte* from =
          i < before ? host_.data.get() + layout_.offsets[i] : values[i - before].data();
      if (shape.numel > 0)
        std::memcpy(memory.data.get() + layout.offsets[i], from,
                    static_cast<size_t>(byte_size(shape)));
    }
    layout_ = std::move(layout);
    host_ = std::move(memory);
  }

  GraphDescription& graph_;
  ParameterLayout& layout_;
  Memory& host_;
  Graph shapes_;
  std::vector<ValueId> ids_;
  std::vector<char> known_;
  std::vector<size_t> results_;  ///< indices of nodes
  size_t first_node_before_ = 0;
};

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

void fold_constants(GraphDescription& graph, ParameterLayout& layout, Memory& host) {
  ConstantFolder(graph, layout, host).run();
}

}  // namespace tandem
