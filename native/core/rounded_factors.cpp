#include "core/rounded_factors.h"

#include <map>
#include <optional>
#include <utility>

#include "core/backend.h"
#include "core/ops/fused_matmul.h"
#include "core/ops/reshape.h"
#include "core/ops/round_factor.h"

namespace tandem {
namespace {

bool is_alias(const Node& node) { return (info(node.op).flags & kAlias) != 0; }

/// What a product of matrices rounds its factors to; none for other nodes.
std::optional<DType> factor_type(const Node& node) {
  if (node.op != Op::linear && node.op != Op::matmul && node.op != Op::fusedMatmul)
    return std::nullopt;
  AttributeStorage attributes = node.attributes;
  if (info(node.op).bf16(attributes)) return DType::kBFloat16;
  if (info(node.op).fp16(attributes)) return DType::kFloat16;
  return std::nullopt;
}

int64_t last_dim(const Tensor& tensor) { return tensor.dims[tensor.rank - 1]; }

class FactorRounding {
 public:
  FactorRounding(Graph& graph, const Backend& backend, bool frozen)
      : graph_(graph), backend_(backend), row_(backend.factor_row()), frozen_(frozen) {}

  /// Puts nodes that round before products, one for each value. Nodes behind them that may read
  /// rounded numbers do.
  void share() {
    find_changed();
    const size_t count = graph_.nodes.size();
    for (size_t i = 0; i < count; ++i) {
      read_rounded(graph_.nodes[i]);
      if (const std::optional<DType> type = factor_type(graph_.nodes[i])) {
        for (const size_t factor : {size_t{0}, size_t{1}}) {
          const ValueId id = graph_.nodes[i].inputs[factor];
          if (!is_shared(id)) continue;
          const ValueId copy = rounded(id, *type, padding_of(graph_.nodes[i], id));
          graph_.nodes[i].inputs[factor] = copy;
        }
      }
      order_.push_back(i);
    }
    graph_.reorder(order_);
  }

  /// Gives rows of float32 products padding where they would not begin at whole 16 bytes and all
  /// that reads them can skip it: products are several times as fast then.
  void pad_products(const std::vector<Pin>& pins) {
    std::vector<char> fixed(graph_.values.size(), 0);
    for (const ValueId id : graph_.outputs) fixed[static_cast<size_t>(memory_of(id))] = 1;
    for (const Pin& pin : pins) fixed[static_cast<size_t>(memory_of(pin.value))] = 1;
    for (const Node& node : graph_.nodes) {
      if (is_alias(node)) {
        const Tensor& y = graph_.tensor(node.outputs[0]);
        const Tensor& x = graph_.tensor(node.inputs[0]);
        if (x.rank > 0 && y.rank > 0 && last_dim(x) == last_dim(y)) continue;
      }
      for (size_t i = 0; i < node.inputs.size(); ++i) {
        const ValueId id = node.inputs[i];
        if (id == kNoValue || (i == 0 && !is_alias(node) && backend_.reads_padded(graph_, node)))
          continue;
        fixed[static_cast<size_t>(memory_of(id))] = 1;
      }
    }
    for (const Node& node : graph_.nodes) pad_result(node, fixed);
  }

  /// Lets the nodes that compute what is rounded do it, where they can, and drops reshapes that
  /// nothing reads any more.
  void merge(const std::vector<Pin>& pins) {
    const std::vector<int> reads = count_reads(pins);
    std::vector<char> dropped(graph_.nodes.size(), 0);
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      if (graph_.nodes[i].op == Op::roundFactor && merge_into_producer(i, reads)) dropped[i] = 1;
    }
    std::vector<int> uses = graph_.count_uses();
    for (const Pin& pin : pins) ++uses[static_cast<size_t>(pin.value)];
    for (size_t i = graph_.nodes.size(); i-- > 0;) {
      const Node& node = graph_.nodes[i];
      if (!is_alias(node) || uses[static_cast<size_t>(node.outputs[0])] > 0) continue;
      dropped[i] = 1;
      --uses[static_cast<size_t>(node.inputs[0])];
    }
    std::vector<size_t> kept;
    for (size_t i = 0; i < dropped.size(); ++i) {
      if (dropped[i] == 0) kept.push_back(i);
    }
    graph_.reorder(kept);
  }

 private:
  /// What a value is a reshape of.
  [[nodiscard]] ValueId memory_of(ValueId id) const {
    for (const Node* node = graph_.producer(id); node != nullptr && is_alias(*node);
         node = graph_.producer(id)) {
      id = node->inputs[0];
    }
    return id;
  }

  void find_changed() {
    changed_.assign(graph_.values.size(), 0);
    for (const Node& node : graph_.nodes) {
      for (size_t i = 0; i < node.inputs.size() && i < 32; ++i) {
        if ((info(node.op).writes >> i & 1U) != 0 && node.inputs[i] != kNoValue)
          changed_[static_cast<size_t>(memory_of(node.inputs[i]))] = 1;
      }
    }
  }

  [[nodiscard]] bool is_shared(ValueId id) const {
    const Tensor& tensor = graph_.tensor(id);
    if (tensor.dtype != DType::kFloat32 || tensor.rank == 0 || tensor.numel == 0) return false;
    if (frozen_ && graph_.value(id).kind == ValueKind::kParameter) return false;
    const auto memory = static_cast<size_t>(memory_of(id));
    return changed_[memory] == 0;
  }

  /// Numbers that are missing of whole rows, where the product is one of two matrices.
  [[nodiscard]] int64_t padding_of(const Node& product, ValueId id) const {
    const Tensor& y = graph_.tensor(product.outputs[0]);
    const bool linear =
        product.op == Op::linear ||
        (product.op == Op::fusedMatmul && product.attrs<ops::FusedMatMul::Attributes>().linear);
    if (!linear && y.numel != y.dims[y.rank - 2] * y.dims[y.rank - 1]) return 0;
    return row_padding(graph_.tensor(id));
  }
  [[nodiscard]] int64_t row_padding(const Tensor& tensor) const {
    return (row_ - last_dim(tensor) % row_) % row_;
  }

  /// The value whose copy that of `id` is a reshape of: with padding, rows have to stay rows.
  [[nodiscard]] ValueId source_of(ValueId id, int64_t padding) const {
    for (const Node* node = graph_.producer(id); node != nullptr && is_alias(*node);
         node = graph_.producer(id)) {
      const Tensor& from = graph_.tensor(node->inputs[0]);
      if (from.rank == 0) break;
      if (padding > 0 && last_dim(from) != last_dim(graph_.tensor(id))) break;
      id = node->inputs[0];
    }
    return id;
  }

  ValueId rounded(ValueId id, DType type, int64_t padding) {
    const auto [view, is_new_view] = views_.try_emplace({id, padding}, kNoValue);
    if (!is_new_view) return view->second;
    const ValueId source = source_of(id, padding);
    const auto [copy, is_new_copy] = copies_.try_emplace({source, padding}, kNoValue);
    if (is_new_copy) {
      AttributeStorage attributes = make_attributes(Op::roundFactor, {});
      *reinterpret_cast<ops::RoundFactor::Attributes*>(attributes.bytes.data()) = {
          type, static_cast<uint8_t>(padding)};
      copy->second = append(Op::roundFactor, source, attributes);
    }
    view->second = copy->second;
    if (!same_shape(graph_.tensor(id), graph_.tensor(source))) {
      AttributeStorage attributes;
      info(Op::reshape).defaults(attributes);
      reinterpret_cast<ops::Reshape::Attributes*>(attributes.bytes.data())->shape =
          make_list(shape_of(graph_.tensor(id)));
      view->second = append(Op::reshape, copy->second, attributes);
      graph_.values[static_cast<size_t>(view->second)].tensor.padding =
          static_cast<uint8_t>(padding);
    }
    return view->second;
  }

  /// A copy that is there is read in place of the floats, which then need not be, as a rule.
  void read_rounded(Node& node) {
    if (node.inputs.empty() || node.inputs[0] == kNoValue || !backend_.reads_rounded(graph_, node))
      return;
    const ValueId id = node.inputs[0];
    const auto view = views_.find({id, row_padding(graph_.tensor(id))});
    if (view != views_.end()) node.inputs[0] = view->second;
  }

  /// Products without an epilogue: what follows one is written by kernels that know no padding.
  void pad_result(const Node& node, const std::vector<char>& fixed) {
    constexpr int64_t kLeast = int64_t{1} << 20;  // elements
    const bool bare =
        node.op != Op::fusedMatmul && (node.inputs.size() < 3 || node.inputs[2] == kNoValue);
    if (!factor_type(node) || !bare) return;
    const ValueId y = node.outputs[0];
    const Tensor& tensor = graph_.tensor(y);
    const int64_t padding = row_padding(tensor);
    if (fixed[static_cast<size_t>(y)] != 0 || padding == 0 || tensor.numel < kLeast ||
        tensor.dtype != DType::kFloat32 || padding_of(node, y) != padding)
      return;
    graph_.values[static_cast<size_t>(y)].tensor.padding = static_cast<uint8_t>(padding);
    for (const Node& view : graph_.nodes) {
      if (!is_alias(view) || memory_of(view.outputs[0]) != y) continue;
      graph_.values[static_cast<size_t>(view.outputs[0])].tensor.padding =
          static_cast<uint8_t>(padding);
    }
  }

  ValueId append(Op op, ValueId operand, const AttributeStorage& attributes) {
    const ValueId id = graph_.apply(op, {operand}, attributes);
    order_.push_back(graph_.nodes.size() - 1);
    return id;
  }

  /// By value: how many nodes and outputs read its memory, reshapes apart.
  [[nodiscard]] std::vector<int> count_reads(const std::vector<Pin>& pins) const {
    std::vector<int> reads(graph_.values.size(), 0);
    const auto read = [&](ValueId id) {
      if (id != kNoValue) ++reads[static_cast<size_t>(memory_of(id))];
    };
    for (const Node& node : graph_.nodes) {
      if (is_alias(node)) continue;
      for (const ValueId id : node.inputs) read(id);
    }
    for (const ValueId id : graph_.outputs) read(id);
    for (const Pin& pin : pins) read(pin.value);
    return reads;
  }

  bool merge_into_producer(size_t rounding, const std::vector<int>& reads) {
    const ValueId x = graph_.nodes[rounding].inputs[0];
    const ValueId copy = graph_.nodes[rounding].outputs[0];
    if (graph_.producer(x) == nullptr) return false;
    Node& producer = graph_.nodes[static_cast<size_t>(graph_.value(x).index)];
    const size_t result = result_of(producer.op);
    if (is_alias(producer) || producer.rounds_too || producer.outputs.size() <= result ||
        producer.outputs[result] != x)
      return false;
    const int64_t padding = graph_.tensor(copy).padding;
    if (reads[static_cast<size_t>(x)] == 1 &&
        backend_.rounds_result(graph_, producer, {true, padding})) {
      graph_.values[static_cast<size_t>(x)].tensor = graph_.tensor(copy);
      graph_.replace_uses(copy, x);
      return true;
    }
    if (!backend_.rounds_result(graph_, producer, {false, padding})) return false;
    producer.outputs.push_back(copy);
    producer.rounds_too = true;
    return true;
  }

  using Key = std::pair<ValueId, int64_t>;  // a value, and the padding of its rows

  Graph& graph_;
  const Backend& backend_;
  int64_t row_;  ///< see Backend::factor_row()
  bool frozen_;
  std::vector<char> changed_;  ///< by value: whether nodes change it
  std::vector<size_t> order_;
  std::map<Key, ValueId> copies_;  ///< by what is rounded
  std::map<Key, ValueId> views_;   ///< by factor: the copy in its shape
};

}  // namespace

void share_rounded_factors(Graph& graph, const std::vector<Pin>& pins, const Backend& backend,
                           bool frozen) {
  if (backend.factor_row() == 0) return;
  FactorRounding rounding(graph, backend, frozen);
  rounding.share();
  rounding.merge(pins);
  rounding.pad_products(pins);
}

}  // namespace tandem
