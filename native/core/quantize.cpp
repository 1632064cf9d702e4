#include "core/quantize.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "core/ops/chain.h"
#include "core/ops/fused_conv.h"
#include "core/ops/fused_matmul.h"
#include "core/ops/quantized.h"
#include "core/ops/reduce.h"
#include "core/quantize_steps.h"

namespace tandem {
namespace {

using ops::FusedConv;
using ops::FusedMatMul;
using ops::QuantizedProduct;
using quantized::is_convolution;
using quantized::is_linear;
using quantized::is_recurrent;
using quantized::means_planes;
using quantized::passes_bytes;
using quantized::reads_any_steps;
using quantized::saves_pre;
using quantized::Steps;

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

class Quantizer {
 public:
  Quantizer(Graph& graph, bool sums_of_bytes)
      : graph_(graph),
        sums_of_bytes_(sums_of_bytes),
        uses_(graph.count_uses()),
        old_(std::move(graph.nodes)),
        forms_(graph.values.size()) {
    graph_.nodes.clear();
  }

  void run() {
    for (const Node& node : old_) {
      quantized::check(graph_, node);
      if (node.quantization != nullptr && node.quantization->weight_is_bytes)
        graph_.values[static_cast<size_t>(node.inputs[1])].tensor.dtype = DType::kUInt8;
    }
    targets_ = quantized::find_targets(graph_, old_, sums_of_bytes_);
    for (size_t i = 0; i < forms_.size(); ++i) {
      if (graph_.values[i].kind != ValueKind::kNode) forms_[i].floats = static_cast<ValueId>(i);
    }
    for (Node& node : old_) add(node);
    for (ValueId& id : graph_.outputs) id = floats_of(id);
  }

 private:
  [[nodiscard]] std::optional<Steps> target(ValueId id) const {
    return targets_[static_cast<size_t>(id)];
  }
  Form& form(ValueId id) { return forms_[static_cast<size_t>(id)]; }

  void add(Node& node) {
    if (node.quantization != nullptr && node.op == Op::embedding) return add_embedding(node);
    if (has_too_many_keys(node)) node.quantization = nullptr;
    if (node.quantization != nullptr && node.op == Op::attention) return add_attention(node);
    if (is_widened(node)) return add_widened(node);
    if (node.quantization != nullptr && is_recurrent(node)) return add_recurrent(node);
    if (node.quantization != nullptr && is_linear(node)) return add_linear(node);
    if (node.quantization != nullptr) return add_convolution(node);
    if (passes_bytes(node) && is_bytes_alone(form(node.inputs[0]))) return pass_bytes(node);
    if (sums_of_bytes_ && reads_any_steps(graph_, node)) {
      if (node.op == Op::add && sums_bytes(node)) return add_sum(node);
      if (node.op == Op::avgPool2d && pools_last(node)) return add_average(node);
      if (node.op == Op::mean && is_bytes_alone(form(node.inputs[0]))) return add_mean_bytes(node);
    }
    if (node.op == Op::relu && joins_sum(node)) return;
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

  /// Whether sums of probabilities times values may be more than 32 bits hold: such an attention
  /// stays one of floats.
  [[nodiscard]] bool has_too_many_keys(const Node& node) const {
    if (node.quantization == nullptr || node.op != Op::attention) return false;
    const bool apart = node.inputs.size() > 1 && node.inputs[1] != kNoValue;
    const Tensor& k = graph_.tensor(node.inputs[apart ? 1 : 0]);
    return k.dims[k.rank - 2] > INT32_MAX / (255 * 128);
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
    return forms_[static_cast<size_t>(node.inputs[0])].last != kNoValue &&
           means_planes(graph_, node, graph_.tensor(node.inputs[0]).rank);
  }

  // ---- sums of bytes ---------------------------------------------------------------------------

  static bool lies_last(const Form& form) {
    return form.last != kNoValue || (form.bytes != kNoValue && form.channels_last);
  }

  /// Whether an addition is one of bytes: it reads some, or gives some.
  [[nodiscard]] bool sums_bytes(const Node& node) {
    return is_bytes_alone(form(node.inputs[0])) || is_bytes_alone(form(node.inputs[1])) ||
           target(node.outputs[0]).has_value();
  }

  /// Value `id` as bytes or floats, channels last or not, and the steps of bytes.
  ValueId any_of(ValueId id, bool channels_last, ops::ByteSteps& steps) {
    Form& now = form(id);
    if (is_bytes_alone(now) || (channels_last && now.last == kNoValue)) {
      steps = {now.steps.scale, now.steps.zero};
      return bytes_of(id, now.steps, channels_last);
    }
    return channels_last ? now.last : floats_of(id);
  }

  /// Remembers what a sum gives, in bytes where all readers agree on them.
  void finish_sum(const Node& node, ValueId result, bool channels_last) {
    Form& out = form(node.outputs[0]);
    if (const std::optional<Steps> steps = target(node.outputs[0])) {
      out.bytes = result;
      out.steps = *steps;
      out.channels_last = channels_last;
    } else {
      (channels_last ? out.last : out.floats) = result;
    }
  }

  void add_sum(const Node& node) {
    const bool last = lies_last(form(node.inputs[0])) && lies_last(form(node.inputs[1]));
    ops::AddBytes::Attributes attributes;
    const ValueId a = any_of(node.inputs[0], last, attributes.a);
    const ValueId b = any_of(node.inputs[1], last, attributes.b);
    direct_sum(node, attributes);
    finish_sum(node, graph_.apply(Op::addBytes, {a, b}, storage_of(Op::addBytes, attributes)),
               last);
  }

  template <typename Attributes>
  void direct_sum(const Node& node, Attributes& attributes) const {
    const std::optional<Steps> steps = target(node.outputs[0]);
    attributes.to_bytes = steps.has_value();
    if (steps) attributes.y = {steps->scale, steps->zero};
  }

  /// Makes a relu part of the sum of floats that it alone reads.
  bool joins_sum(const Node& node) {
    const ValueId x = node.inputs[0];
    const Form& in = form(x);
    const ValueId sum = in.last != kNoValue ? in.last : in.floats;
    const Node* const producer = sum == kNoValue ? nullptr : graph_.producer(sum);
    if (producer == nullptr || producer->op != Op::addBytes || uses_[static_cast<size_t>(x)] != 1)
      return false;
    const auto index = static_cast<size_t>(graph_.value(sum).index);
    graph_.nodes[index].attrs<ops::AddBytes::Attributes>().relu = true;
    form(node.outputs[0]) = in;
    return true;
  }

  [[nodiscard]] bool pools_last(const Node& node) {
    const Form& in = form(node.inputs[0]);
    return lies_last(in) || is_bytes_alone(in);
  }

  void add_average(const Node& node) {
    const auto& pool = node.attrs<ops::PoolAttributes>();
    ops::AveragePoolBytes::Attributes attributes;
    attributes.kernel = pool.kernel;
    attributes.stride = pool.stride;
    attributes.padding = pool.padding;
    const ValueId x = any_of(node.inputs[0], true, attributes.x);
    direct_sum(node, attributes);
    finish_sum(
        node, graph_.apply(Op::averagePoolBytes, {x}, storage_of(Op::averagePoolBytes, attributes)),
        true);
  }

  /// The mean of each plane of bytes, as floats.
  void add_mean_bytes(const Node& node) {
    const std::vector<double> shape = shape_of_result(node);
    const int64_t* const dims = graph_.tensor(node.inputs[0]).dims;
    ops::AveragePoolBytes::Attributes attributes;
    attributes.kernel = attributes.stride = {dims[2], dims[3]};
    const ValueId bytes = any_of(node.inputs[0], true, attributes.x);
    const ValueId means =
        graph_.apply(Op::averagePoolBytes, {bytes}, storage_of(Op::averagePoolBytes, attributes));
    form(node.outputs[0]).floats =
        graph_.apply(Op::reshape, {means}, make_attributes(Op::reshape, {{"shape", shape}}));
  }

  [[nodiscard]] std::vector<double> shape_of_result(const Node& node) const {
    const Tensor& y = graph_.tensor(node.outputs[0]);
    return {y.dims, y.dims + y.rank};
  }

  void add_mean(const Node& node) {
    std::vector<double> axes;
    const std::vector<double> shape = shape_of_result(node);
    for (int32_t i = 1; i + 1 < graph_.tensor(node.inputs[0]).rank; ++i) axes.push_back(i);
    const ValueId means = graph_.apply(Op::mean, {form(node.inputs[0]).last},
                                       make_attributes(Op::mean, {{"axes", axes}}));
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
    if (residual_of(node) != kNoValue) return;
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

  /// What a linear product adds, or kNoValue.
  static ValueId residual_of(const Node& node) {
    const bool has = node.op == Op::fusedMatmul && node.inputs.size() > FusedMatMul::kResidual;
    return has ? node.inputs[FusedMatMul::kResidual] : kNoValue;
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
    std::vector<ValueId> operands = operands_of(node, x);
    if (const ValueId residual = residual_of(node); residual != kNoValue) {
      operands.resize(ops::QuantizedLinear::kResidual, kNoValue);
      operands.push_back(floats_of(residual));
    }
    const ValueId y = graph_.apply(Op::quantizedLinear, std::move(operands),
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
  bool sums_of_bytes_;
  std::vector<int> uses_;  ///< by value of the graph as it was
  std::vector<Node> old_;
  std::vector<std::optional<Steps>> targets_;  ///< by value of the graph as it was
  std::vector<Form> forms_;                    ///< the same
};

}  // namespace

void quantize(Graph& graph, bool sums_of_bytes) {
  const bool any = std::any_of(graph.nodes.begin(), graph.nodes.end(),
                               [](const Node& node) { return node.quantization != nullptr; });
  if (any) Quantizer(graph, sums_of_bytes).run();
}

}  // namespace tandem
