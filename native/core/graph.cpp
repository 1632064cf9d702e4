#include "core/graph.h"

#include <cstring>

namespace tandem {

ValueId Graph::add_value(const Tensor& tensor, ValueKind kind, size_t index) {
  values.push_back({tensor, kind, static_cast<int32_t>(index)});
  return static_cast<ValueId>(values.size() - 1);
}

ValueId Graph::add_input(const Tensor& tensor) {
  inputs.push_back(add_value(tensor, ValueKind::kInput, inputs.size()));
  return inputs.back();
}

ValueId Graph::add_parameter(const Tensor& tensor) {
  parameters.push_back(add_value(tensor, ValueKind::kParameter, parameters.size()));
  return parameters.back();
}

ValueId Graph::add_constant(Constant constant) {
  constants.push_back(add_value(constant.tensor, ValueKind::kConstant, constants.size()));
  constant_data.push_back(std::move(constant));
  return constants.back();
}

ValueId Graph::scalar(float value) {
  for (size_t i = 0; i < constants.size(); ++i) {
    const Constant& known = constant_data[i];
    if (known.tensor.rank == 0 && known.tensor.dtype == DType::kFloat32 &&
        std::memcmp(known.data.data(), &value, sizeof value) == 0) {
      return constants[i];
    }
  }
  Constant constant{make_tensor({}, DType::kFloat32), std::vector<std::byte>(sizeof value)};
  std::memcpy(constant.data.data(), &value, sizeof value);
  return add_constant(std::move(constant));
}

ValueId Graph::add_arena(ArenaKind kind, int64_t first, int64_t elements) {
  const ValueId id = add_value(make_tensor({elements}, DType::kFloat32), ValueKind::kArena,
                               static_cast<size_t>(kind));
  values.back().offset = checked_mul(first, static_cast<int64_t>(sizeof(float)));
  return id;
}

std::vector<Tensor> Graph::infer_outputs(Node& node) const {
  std::vector<std::optional<Tensor>> tensors;
  for (const ValueId id : node.inputs) {
    tensors.push_back(id == kNoValue ? std::nullopt : std::optional<Tensor>(tensor(id)));
  }
  return infer(node.op, tensors, node.attributes);
}

ValueId Graph::apply(Op op, std::vector<ValueId> operands, const AttributeStorage& attributes) {
  Node node{op, attributes, std::move(operands), {}};
  for (const Tensor& out : infer_outputs(node)) {
    node.outputs.push_back(add_value(out, ValueKind::kNode, nodes.size()));
  }
  const ValueId first = node.outputs.empty() ? kNoValue : node.outputs.front();
  nodes.push_back(std::move(node));
  return first;
}

void Graph::extend(ValueId output, const AttributeStorage& attributes) {
  const auto index = static_cast<size_t>(value(output).index);
  nodes[index].attributes = attributes;
  const std::vector<Tensor> tensors = infer_outputs(nodes[index]);
  for (size_t i = nodes[index].outputs.size(); i < tensors.size(); ++i) {
    nodes[index].outputs.push_back(add_value(tensors[i], ValueKind::kNode, index));
  }
}

const Node* Graph::producer(ValueId id) const {
  const Value& v = value(id);
  return v.kind == ValueKind::kNode ? &nodes[static_cast<size_t>(v.index)] : nullptr;
}

std::vector<int> Graph::count_uses() const {
  std::vector<int> uses(values.size(), 0);
  const auto use = [&](ValueId id) {
    if (id != kNoValue) ++uses[static_cast<size_t>(id)];
  };
  for (const Node& node : nodes) {
    for (const ValueId id : node.inputs) use(id);
  }
  for (const ValueId id : outputs) use(id);
  return uses;
}

void Graph::replace_uses(ValueId from, ValueId to) {
  for (Node& node : nodes) {
    for (ValueId& id : node.inputs) {
      if (id == from) id = to;
    }
  }
  for (ValueId& id : outputs) {
    if (id == from) id = to;
  }
}

std::vector<bool> Graph::changed_inputs() const {
  std::vector<bool> changed(inputs.size(), false);
  for (const Node& node : nodes) {
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      if ((info(node.op).writes >> i & 1U) == 0 || node.inputs[i] == kNoValue) continue;
      const Value& value = this->value(node.inputs[i]);
      if (value.kind == ValueKind::kInput) changed[static_cast<size_t>(value.index)] = true;
    }
  }
  return changed;
}

void Graph::reorder(const std::vector<size_t>& order) {
  std::vector<Node> kept;
  kept.reserve(order.size());
  for (const size_t i : order) kept.push_back(std::move(nodes[i]));
  nodes = std::move(kept);
  for (size_t i = 0; i < nodes.size(); ++i) {
    for (const ValueId id : nodes[i].outputs)
      values[static_cast<size_t>(id)].index = static_cast<int32_t>(i);
  }
}

void Graph::remove_dead_nodes() {
  std::vector<char> live(values.size(), 0);
  for (const ValueId id : outputs) live[static_cast<size_t>(id)] = 1;
  std::vector<size_t> kept;
  for (size_t i = nodes.size(); i-- > 0;) {
    const Node& node = nodes[i];
    bool needed = (info(node.op).flags & kEffect) != 0;
    for (const ValueId id : node.outputs) needed = needed || live[static_cast<size_t>(id)] != 0;
    if (!needed) continue;
    for (const ValueId id : node.inputs) {
      if (id != kNoValue) live[static_cast<size_t>(id)] = 1;
    }
    kept.push_back(i);
  }
  reorder({kept.rbegin(), kept.rend()});
}

}  // namespace tandem
