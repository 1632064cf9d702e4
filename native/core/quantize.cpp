#include "core/quantize.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "core/ops/chain.h"
#include "core/ops/fused_conv.h"
#include "core/ops/fused_matmul.h"
#include "core/ops/quantized.h"
#include "core/ops/reduce.h"

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
  ValueId last = kNoValue;  ///< floats of an image that lies channels last
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

bool is_recurrent(const Node& node) { return node.op == Op::lstm || node.op == Op::gru; }

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
    for (const Node& node : old_) {
      check(node);
      if (node.quantization != nullptr && node.quantization->weight_is_bytes)
        graph_.values[static_cast<size_t>(node.inputs[1])].tensor.dtype = DType::kUInt8;
    }
    find_targets();
    for (size_t i = 0; i < forms_.size(); ++i) {
      if (graph_.values[i].kind != ValueKind::kNode) forms_[i].floats = static_cast<ValueId>(i);
    }
    for (Node& node : old_) add(node);
    for (ValueId& id : graph_.outputs) id = floats_of(id);
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
    if (node.op == Op::attention) return;
    const bool conv = is_convolution(node);
    const bool recurrent = is_recurrent(node);
    if (!is_linear(node) && !conv && !recurrent && node.op != Op::embedding)
      refuse(node, "linear, conv1d, conv2d, lstm, gru, embedding or attention");
    if (graph_.value(node.inputs[1]).kind != ValueKind::kParameter)
      refuse(node, "a weight that is a parameter");
    if (conv && q.mode == QuantizationMode::kDynamic)
      refuse(node, "a scale from calibration, or weights alone,");
    if (recurrent && q.mode == QuantizationMode::kStatic)
      refuse(node, "ranges of rows, or weights alone,");
    const auto fits = [](float scale) { return scale > 0 && std::isfinite(scale); };
    const bool all = static_cast<int64_t>(q.weight_scales.size()) == weight(node).dims[0] &&
                     std::all_of(q.weight_scales.begin(), q.weight_scales.end(), fits);
    if (!all) refuse(node, "a scale above 0 for each row of the weight");
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
    if (is_widened(node)) return add_widened(node);
    if (node.quantization != nullptr && is_recurrent(node)) return add_recurrent(node);
    if (node.quantization != nullptr && is_linear(node)) return add_linear(node);
    if (node.quantization != nullptr) return add_convolution(node);
    if (passes_bytes(node) && is_bytes_alone(form(node.inputs[0]))) return pass_bytes(node);
    if (stays_last(node)) return add_last(node);
    if (is_mean_of_planes(node)) return add_mean(node);
    for (ValueId& id : node.inputs) {
      if (id != kNoValue) id = floats_of(id);
    }
    keep(std::move(node));
  }

  /// Appends a node as it is, with operands of the graph that is built.
  void keep(Node node) {
    for (const ValueId id : node.outputs) {
      graph_.values[static_cast<size_t>(id)].index = static_cast<int32_t>(graph_.nodes.size());
      form(id).floats = id;
    }
    graph_.nodes.push_back(std::move(node));
  }

  static bool is_widened(const Node& node) {
    return node.quantization != nullptr && node.quantization->mode == QuantizationMode::kWeights &&
           (is_convolution(node) || is_recurrent(node));
  }

  static bool is_bytes_alone(const Form& form) {
    return form.bytes != kNoValue && form.floats == kNoValue && form.last == kNoValue;
  }

  [[nodiscard]] bool is_single(ValueId id) const { return graph_.tensor(id).numel == 1; }

  /// Whether an elementwise node reads images that lie channels last, and nothing else but single
  /// numbers: then it can give one, too.
  [[nodiscard]] bool stays_last(const Node& node) const {
    if (ops::chain_operands(node.op) == 0 || node.outputs.size() != 1) return false;
    const Tensor& y = graph_.tensor(node.outputs[0]);
    const auto fits = [&](ValueId id) {
      const bool image = forms_[static_cast<size_t>(id)].last != kNoValue;
      return image ? same_shape(graph_.tensor(id), y) : is_single(id);
    };
    return !is_single(node.outputs[0]) && std::all_of(node.inputs.begin(), node.inputs.end(), fits);
  }

  void add_last(const Node& node) {
    std::vector<ValueId> operands;
    for (const ValueId id : node.inputs)
      operands.push_back(form(id).last != kNoValue ? form(id).last : floats_of(id));
    form(node.outputs[0]).last = graph_.apply(node.op, operands, node.attributes);
  }

  /// Whether a node takes the mean of each plane of images that lie channels last.
  [[nodiscard]] bool is_mean_of_planes(const Node& node) const {
    if (node.op != Op::mean || forms_[static_cast<size_t>(node.inputs[0])].last == kNoValue)
      return false;
    const IntList& axes = node.attrs<ops::Mean::Attributes>().axes;
    const int32_t rank = graph_.tensor(node.inputs[0]).rank;
    if (axes.count != rank - 2) return false;
    for (int32_t i = 0; i < axes.count; ++i) {
      if (axes.values[i] != i + 2) return false;
    }
    return true;
  }

  void add_mean(const Node& node) {
    std::vector<double> axes;
    const Tensor& y = graph_.tensor(node.outputs[0]);
    for (int32_t i = 1; i + 1 < graph_.tensor(node.inputs[0]).rank; ++i) axes.push_back(i);
    const ValueId means = graph_.apply(Op::mean, {form(node.inputs[0]).last},
                                       make_attributes(Op::mean, {{"axes", axes}}));
    std::vector<double> shape(y.dims, y.dims + y.rank);
    form(node.outputs[0]).floats =
        graph_.apply(Op::reshape, {means}, make_attributes(Op::reshape, {{"shape", shape}}));
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
    const bool lies_last = now.last != kNoValue;
    const ops::Quantize::Attributes attributes{steps.scale, steps.zero,
                                               channels_last && !lies_last};
    now.bytes = graph_.apply(Op::quantize, {lies_last ? now.last : now.floats},
                             storage_of(Op::quantize, attributes));
    now.steps = steps;
    now.channels_last = channels_last || lies_last;
    if (now.channels_last != channels_last) {
      now.bytes = move_channels(now.bytes, channels_last);
      now.channels_last = channels_last;
    }
    return now.bytes;
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
    if (!steps || saves_pre(node) || product.mode == QuantizationMode::kWeights) return;
    product.to_bytes = true;
    product.y_scale = steps->scale;
    product.y_zero = steps->zero;
  }

  /// Remembers what a product gives, an image that lies channels last or not. The value before the
  /// activation is computed first where it is read, too.
  void finish(const Node& node, ValueId result, const QuantizedProduct& product, Op activation,
              bool is_last) {
    Form& out = form(node.outputs[0]);
    if (product.to_bytes) {
      out.bytes = result;
      out.steps = {product.y_scale, product.y_zero};
      out.channels_last = is_last;
      return;
    }
    const auto place = [&](Form& in) -> ValueId& { return is_last ? in.last : in.floats; };
    if (saves_pre(node)) {
      place(form(node.outputs[1])) = result;
      result =
          graph_.apply(activation, {result}, storage_of(activation, product.activation_attributes));
    }
    place(out) = result;
  }

  std::vector<ValueId> operands_of(const Node& node, ValueId x) {
    std::vector<ValueId> operands = {x, node.inputs[1]};
    if (node.inputs.size() > 2 && node.inputs[2] != kNoValue)
      operands.push_back(floats_of(node.inputs[2]));
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
    const ValueId y = graph_.apply(
        Op::quantizedConv, operands_of(node, x),
        storage_of(Op::quantizedConv, ops::QuantizedConv::Attributes{product, fused.conv}));
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
  ValueId floats_of(ValueId id) {
    Form& now = form(id);
    if (now.floats == kNoValue && now.last != kNoValue) now.floats = channels_first(now.last);
    return now.floats;
  }

  void add_embedding(const Node& node) {
    const Quantization& q = *node.quantization;
    const ops::QuantizedEmbedding::Attributes attributes{q.index, q.weight_scales.data()};
    form(node.outputs[0]).floats =
        graph_.apply(Op::quantizedEmbedding, {floats_of(node.inputs[0]), node.inputs[1]},
                     storage_of(Op::quantizedEmbedding, attributes));
  }

  /// A node whose weight alone is bytes, which become floats before it.
  void add_widened(const Node& node) {
    const Quantization& q = *node.quantization;
    const ops::ByteWeight attributes{q.index, q.weight_scales.data()};
    Node plain = node;
    plain.quantization = nullptr;
    plain.inputs = operands_of(node, floats_of(node.inputs[0]));
    plain.inputs[1] = graph_.apply(Op::dequantizeWeight, {node.inputs[1]},
                                   storage_of(Op::dequantizeWeight, attributes));
    keep(std::move(plain));
  }

  void add_recurrent(const Node& node) {
    const Quantization& q = *node.quantization;
    const ops::ByteWeight attributes{q.index, q.weight_scales.data()};
    const Op op = node.op == Op::lstm ? Op::quantizedLstm : Op::quantizedGru;
    form(node.outputs[0]).floats =
        graph_.apply(op, operands_of(node, floats_of(node.inputs[0])), storage_of(op, attributes));
  }

  void add_attention(const Node& node) {
    std::vector<ValueId> operands;
    for (size_t i = 0; i < node.inputs.size(); ++i)
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
