// A graph of ops over values with concrete shapes. Nodes stand in execution order: an input of a
// node is a leaf or the output of an earlier node.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "core/op.h"

namespace tandem {

using ValueId = int32_t;
inline constexpr ValueId kNoValue = -1;

enum class ValueKind : uint8_t {
  kInput,      ///< fed for each run; `index` counts inputs
  kParameter,  ///< lives in the parameter arena; `index` counts parameters
  kConstant,   ///< data of the graph itself; `index` counts constants
  kArena,      ///< a part of an arena seen as one vector (see `ArenaKind`)
  kNode,       ///< output of node `index`
};

/// The arenas that the optimizer sweeps.
enum class ArenaKind : int32_t { kParameters, kGradients, kOptimizer };

struct Value {
  Tensor tensor;
  ValueKind kind;
  int32_t index;
  int64_t offset = 0;  ///< of an arena's part, in bytes
};

struct Quantization;  // core/quantize.h

struct Node {
  Op op;
  AttributeStorage attributes;
  std::vector<ValueId> inputs;  ///< kNoValue where an optional input is left out
  std::vector<ValueId> outputs;
  /// How quantize() is to compute the node, owned by the description; null: as it is.
  const Quantization* quantization = nullptr;
  /// Whether the last output is no output of the op, but its result (result_of) rounded to 16 bits:
  /// see core/rounded_factors.h.
  bool rounds_too = false;

  template <typename T>
  [[nodiscard]] const T& attrs() const {
    return *reinterpret_cast<const T*>(attributes.bytes.data());
  }
  template <typename T>
  [[nodiscard]] T& attrs() {
    return *reinterpret_cast<T*>(attributes.bytes.data());
  }
};

struct Constant {
  Tensor tensor;
  std::vector<std::byte> data;
};

class Graph {
 public:
  std::vector<Value> values;
  std::vector<Node> nodes;
  std::vector<ValueId> inputs;
  std::vector<ValueId> parameters;
  std::vector<ValueId> constants;
  std::vector<Constant> constant_data;
  std::vector<ValueId> outputs;

  ValueId add_input(const Tensor& tensor);
  ValueId add_parameter(const Tensor& tensor);
  ValueId add_constant(Constant constant);
  /// A float32 scalar; equal scalars share one value.
  ValueId scalar(float value);
  /// `elements` floats of an arena, from float `first` on, as one value.
  ValueId add_arena(ArenaKind kind, int64_t first, int64_t elements);
  /// Appends a node and returns its first output (kNoValue when it has none).
  ValueId apply(Op op, std::vector<ValueId> operands, const AttributeStorage& attributes);
  ValueId apply(Op op, std::vector<ValueId> operands) {
    return apply(op, std::move(operands), make_attributes(op, {}));
  }

  /// Infers the node that computes `output` anew with other attributes; outputs beyond those that
  /// it has are added. For gradients that read what a forward pass alone leaves out.
  void extend(ValueId output, const AttributeStorage& attributes);

  [[nodiscard]] const Tensor& tensor(ValueId id) const {
    return values[static_cast<size_t>(id)].tensor;
  }
  [[nodiscard]] const Value& value(ValueId id) const { return values[static_cast<size_t>(id)]; }
  /// The node that computes `id`, or null for a leaf.
  [[nodiscard]] const Node* producer(ValueId id) const;
  /// By input: whether a node changes it.
  [[nodiscard]] std::vector<bool> changed_inputs() const;
  /// Number of node inputs and graph outputs that read each value.
  [[nodiscard]] std::vector<int> count_uses() const;
  /// Drops nodes that neither reach an output nor have an effect.
  void remove_dead_nodes();
  /// Puts nodes in a new order: `order` names the nodes to keep, which must still follow their
  /// operands.
  void reorder(const std::vector<size_t>& order);
  /// Makes every reader of `from`, graph outputs included, read `to`.
  void replace_uses(ValueId from, ValueId to);

 private:
  ValueId add_value(const Tensor& tensor, ValueKind kind, size_t index);
  std::vector<Tensor> infer_outputs(Node& node) const;
};

}  // namespace tandem
