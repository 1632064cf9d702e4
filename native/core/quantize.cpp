#include "core/quantize.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "core/ops/fused_conv.h"
#include "core/ops/fused_matmul.h"
#include "core/ops/quantized.h"

namespace tandem {
namespace {

using ops::FusedConv;
using ops::FusedMatMul;
using ops::QuantizedProduct;

/// What a byte stands for: (byte - zero) * scale.
struct Steps {
  float scale;
  int32_t zero;
  bool operator==(const Steps&) const = default;
};

/// Where a value of the graph as it was is in the one that is built.
struct Form {
  ValueId floats = kNoValue;
  ValueId bytes = kNoValue;
  Steps steps{};               ///< of `bytes`
  bool channels_last = false;  ///< `bytes` are an image that lies so
};

template <typename Attributes>
AttributeStorage storage_of(Op op, const Attributes& attributes) {
  AttributeStorage storage = make_attributes(op, {});
  *reinterpret_cast<Attributes*>(storage.bytes.data()) = attributes;
  return storage;
}

bool is_linear(const Node& node) {
  return node.op == Op::linear ||
         (node.op == Op::fusedMatmul && node.attrs<FusedMatMul::Attributes>().linear);
}
bool is_convolution(const Node& node) {
  return node.op == Op::conv1d || node.op == Op::conv2d ||
         (node.op == Op::fusedConv && !node.attrs<FusedConv::Attributes>().transposed);
}

class Quantizer {
 public:
  explicit Quantizer(Graph& graph)
      : graph_(graph),
        old_(std::move(graph.nodes)),
        targets_(graph.values.size()),
        forms_(graph.values.size()) {
    graph_.nodes.clear();
  }

  void run() {
    for (const Node& node : old_) check(node);
    find_targets();
    for (size_t i = 0; i < forms_.size(); ++i) {
      if (graph_.values[i].kind != ValueKind::kNode) forms_[i].floats = static_cast<ValueId>(i);
    }
    for (Node& node : old_) add(node);
    for (ValueId& id : graph_.outputs) id = forms_[static_cast<size_t>(id)].floats;
  }

 private:
  [[nodiscard]] const Tensor& weight(const Node& node) const {
    return graph_.tensor(node.inputs[1]);
  }

  [[noreturn]] static void refuse(const Node& node, const char* expected) {
    fail(ErrorCode::kArgument, std::string("expected ") + expected + " for the quantization of " +
                                   name(node.op) + ", received another");
  }

  void check(const Node& node) const {
    if (node.quantization == nullptr) return;
    const Quantization& q = *node.quantization;
    if (!(q.scale > 0) || !std::isfinite(q.scale) || q.zero < 0 || q.zero > 255)
      refuse(node, "a scale above 0 and a zero point from 0 to 255");
    if (node.op == Op::attention) {
      if (node.inputs.size() > 3 && node.inputs[3] != kNoValue) refuse(node, "no mask");
      return;
    }
    const bool conv = is_convolution(node);
    if (!is_linear(node) && !conv && node.op != Op::embedding)
      refuse(node, "linear, conv1d, conv2d, embedding or attention");
    if (graph_.value(node.inputs[1]).kind != ValueKind::kParameter)
      refuse(node, "a weight that is a parameter");
    if (conv && (q.mode != QuantizationMode::kStatic || conv_of(node).groups != 1))
      refuse(node, "one group and a scale from calibration");
    const auto fits = [](float scale) { return scale > 0 && std::isfinite(scale); };
    const bool all = static_cast<int64_t>(q.weight_scales.size()) == weight(node).dims[0] &&
                     std::all_of(q.weight_scales.begin(), q.weight_scales.end(), fits);
    if (!all) refuse(node, "a scale above 0 for each row of the weight");
  }

  static const ops::ConvAttributes& conv_of(const Node& node) {
    return node.op == Op::fusedConv ? node.attrs<FusedConv::Attributes>().conv
                                    : node.attrs<ops::ConvAttributes>();
  }

  static bool saves_pre(const Node& node) { return node.outputs.size() > 1; }

  /// Whether the node reads its first input as bytes.
  static bool reads_bytes(const Node& node) {
    return node.quantization != nullptr && node.quantization->mode == QuantizationMode::kStatic &&
           (is_linear(node) || is_convolution(node));
  }

  /// The steps in which `reader` takes value `id`; none where it wants floats.
  [[nodiscard]] std::optional<Steps> wanted(const Node& reader, ValueId id) const {
    if (reader.inputs[0] != id || std::count(reader.inputs.begin(), reader.inputs.end(), id) != 1)
      return std::nullopt;
    if (reads_bytes(reader)) return Steps{reader.quantization->scale, reader.quantization->zero};
    if (!passes_bytes(reader)) return std::nullopt;
    const std::optional<Steps> behind = targets_[static_cast<size_t>(reader.outputs[0])];
    // Nothing is below a zero point of 0: bytes are the result of a relu already.
    if (behind && reader.op == Op::relu && behind->zero != 0) return std::nullopt;
    return behind;
  }

  /// Whether bytes may go through a node that is not a product: it commutes with rounding.
  static bool passes_bytes(const Node& node) {
    if (node.op == Op::maxPool2d) return !saves_pre(node);
    return node.op == Op::relu || node.op == Op::reshape || node.op == Op::flatten;
  }

  /// For each value the steps that all of its readers agree on.
  void find_targets() {
    std::vector<char> read(forms_.size(), 0);
    for (const ValueId id : graph_.outputs) read[static_cast<size_t>(id)] = 1;
    for (size_t i = old_.size(); i-- > 0;) {
      for (const ValueId id : old_[i].inputs) {
        if (id == kNoValue) continue;
        const std::optional<Steps> steps = wanted(old_[i], id);
        auto& target = targets_[static_cast<size_t>(id)];
        if (read[static_cast<size_t>(id)] == 0) {
          target = steps;
        } else if (target != steps) {
          target.reset();
        }
        read[static_cast<size_t>(id)] = 1;
      }
    }
  }

  [[nodiscard]] std::optional<Steps> target(ValueId id) const {
    return targets_[static_cast<size_t>(id)];
  }
  Form& form(ValueId id) { return forms_[static_cast<size_t>(id)]; }

  void add(Node& node) {
    if (node.quantization != nullptr && node.op == Op::embedding) return add_embedding(node);
    if (node.quantization != nullptr && node.op == Op::attention) return add_attention(node);
    if (node.quantization != nullptr && is_linear(node)) return add_linear(node);
    if (node.quantization != nullptr) return add_convolution(node);
    const bool bytes = passes_bytes(node) && form(node.inputs[0]).bytes != kNoValue &&
                       form(node.inputs[0]).floats == kNoValue;
    if (bytes) return pass_bytes(node);
    for (ValueId& id : node.inputs) {
      if (id != kNoValue) id = form(id).floats;
    }
    for (const ValueId id : node.outputs) {
      graph_.values[static_cast<size_t>(id)].index = static_cast<int32_t>(graph_.nodes.size());
      form(id).floats = id;
    }
    graph_.nodes.push_back(std::move(node));
  }

  /// Value `id` as bytes in these steps, channels last or not.
  ValueId bytes_of(ValueId id, const Steps& steps, bool channels_last) {
    Form& now = form(id);
    if (now.bytes != kNoValue && now.steps == steps) {
      if (now.channels_last != channels_last) {
        now.bytes = move_channels(now.bytes, channels_last);
        now.channels_last = channels_last;
      }
      return now.bytes;
    }
    const ops::Quantize::Attributes attributes{steps.scale, steps.zero, channels_last};
    const ValueId bytes =
        graph_.apply(Op::quantize, {now.floats}, storage_of(Op::quantize, attributes));
    now = {now.floats, bytes, steps, channels_last};
    return bytes;
  }

  ValueId move_channels(ValueId bytes, bool to_last) {
    return graph_.apply(Op::moveChannels, {bytes},
                        storage_of(Op::moveChannels, ops::MoveChannels::Attributes{to_last}));
  }

  /// A node that gives bytes in the steps in which it gets them.
  void pass_bytes(const Node& node) {
    const Form in = form(node.inputs[0]);
    Form& out = form(node.outputs[0]);
    out = in;
    if (node.op == Op::relu) return;
    if (node.op == Op::maxPool2d) {
      out.bytes = graph_.apply(Op::maxPoolBytes, {bytes_of(node.inputs[0], in.steps, true)},
                               node.attributes);
      out.channels_last = true;
      return;
    }
    out.bytes = graph_.apply(node.op, {bytes_of(node.inputs[0], in.steps, false)}, node.attributes);
    out.channels_last = false;
  }

  QuantizedProduct product_of(const Node& node, int32_t activation,
                              const ElementwiseAttributes& parameters) {
    const Quantization& q = *node.quantization;
    QuantizedProduct product;
    product.activation = activation;
    product.activation_attributes = parameters;
    product.index = q.index;
    product.weight_scales = q.weight_scales.data();
    product.mode = q.mode;
    product.x_scale = q.scale;
    product.x_zero = q.zero;
    return product;
  }

  /// What the node gives: bytes where all readers want them, unless its other output is read, too.
  void direct(const Node& node, QuantizedProduct& product) {
    const std::optional<Steps> steps = target(node.outputs[0]);
    if (!steps || saves_pre(node)) return;
    product.to_bytes = true;
    product.y_scale = steps->scale;
    product.y_zero = steps->zero;
  }

  /// Remembers what a product gives. The value before the activation is computed first where it is
  /// read, too.
  void finish(const Node& node, ValueId result, const QuantizedProduct& product, Op activation,
              bool channels_last) {
    Form& out = form(node.outputs[0]);
    if (product.to_bytes) {
      out = {kNoValue, result, {product.y_scale, product.y_zero}, channels_last};
    } else if (saves_pre(node)) {
      form(node.outputs[1]).floats = result;
      out.floats =
          graph_.apply(activation, {result}, storage_of(activation, product.activation_attributes));
    } else {
      out.floats = result;
    }
  }

  std::vector<ValueId> operands_of(const Node& node, ValueId x) {
    std::vector<ValueId> operands = {x, node.inputs[1]};
    if (node.inputs.size() > 2 && node.inputs[2] != kNoValue)
      operands.push_back(form(node.inputs[2]).floats);
    return operands;
  }

  void add_linear(const Node& node) {
    FusedMatMul::Attributes fused{};
    if (node.op == Op::fusedMatmul) fused = node.attrs<FusedMatMul::Attributes>();
    QuantizedProduct product = product_of(node, fused.activation, fused.activation_attributes);
    const auto activation = static_cast<Op>(fused.activation);
    direct(node, product);
    if (saves_pre(node)) product.activation = -1;
    const bool bytes = product.mode == QuantizationMode::kStatic;
    const ValueId x = bytes ? bytes_of(node.inputs[0], {product.x_scale, product.x_zero}, false)
                            : floats_of(node.inputs[0]);
    const ValueId y = graph_.apply(Op::quantizedLinear, operands_of(node, x),
                                   storage_of(Op::quantizedLinear, product));
    finish(node, y, product, activation, false);
  }

  void add_convolution(const Node& node) {
    FusedConv::Attributes fused{};
    if (node.op == Op::fusedConv) {
      fused = node.attrs<FusedConv::Attributes>();
    } else {
      fused.conv = node.attrs<ops::ConvAttributes>();
    }
    QuantizedProduct product = product_of(node, fused.activation, fused.activation_attributes);
    const auto activation = static_cast<Op>(fused.activation);
    direct(node, product);
    if (saves_pre(node)) product.activation = -1;
    const ValueId x = bytes_of(node.inputs[0], {product.x_scale, product.x_zero}, true);
    ValueId y = graph_.apply(
        Op::quantizedConv, operands_of(node, x),
        storage_of(Op::quantizedConv, ops::QuantizedConv::Attributes{product, fused.conv}));
    if (!product.to_bytes) y = channels_first(y);
    finish(node, y, product, activation, true);
  }

  /// Floats [n, ..., c] as [n, c, ...].
  ValueId channels_first(ValueId id) {
    const int32_t rank = graph_.tensor(id).rank;
    std::vector<double> order = {0, static_cast<double>(rank - 1)};
    for (int32_t i = 1; i + 1 < rank; ++i) order.push_back(i);
    return graph_.apply(Op::transpose, {id}, make_attributes(Op::transpose, {{"perm", order}}));
  }

  /// Values that are read as bytes by everyone are never asked for as floats.
  ValueId floats_of(ValueId id) { return form(id).floats; }

  void add_embedding(const Node& node) {
    const Quantization& q = *node.quantization;
    const ops::QuantizedEmbedding::Attributes attributes{q.index, q.weight_scales.data()};
    form(node.outputs[0]).floats =
        graph_.apply(Op::quantizedEmbedding, {form(node.inputs[0]).floats, node.inputs[1]},
                     storage_of(Op::quantizedEmbedding, attributes));
  }

  void add_attention(const Node& node) {
    std::vector<ValueId> operands;
    for (size_t i = 0; i < node.inputs.size() && i < 3; ++i)
      operands.push_back(node.inputs[i] == kNoValue ? kNoValue : floats_of(node.inputs[i]));
    form(node.outputs[0]).floats =
        graph_.apply(Op::quantizedAttention, operands,
                     storage_of(Op::quantizedAttention, node.attrs<ops::Attention::Attributes>()));
  }

  Graph& graph_;
  std::vector<Node> old_;
  std::vector<std::optional<Steps>> targets_;  ///< by value of the graph as it was
  std::vector<Form> forms_;                    ///< the same
};

}  // namespace

void quantize(Graph& graph) {
  const bool any = std::any_of(graph.nodes.begin(), graph.nodes.end(),
                               [](const Node& node) { return node.quantization != nullptr; });
  if (any) Quantizer(graph).run();
}

}  // namespace tandem
