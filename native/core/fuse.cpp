#include "core/fuse.h"

#include <algorithm>
#include <cstring>

#include "core/backend.h"
#include "core/fuse_norms.h"
#include "core/ops/fused_conv.h"
#include "core/ops/fused_matmul.h"
#include "core/ops/pooling.h"
#include "core/quantize.h"
#include "core/rewrite.h"

namespace tandem {
namespace {

using ops::FusedConv;
using ops::FusedMatMul;
using ops::MatMul;

class Fuser {
 public:
  /// `adds_in_products`: see Backend.
  Fuser(Graph& graph, bool adds_in_products) : graph_(graph), adds_in_products_(adds_in_products) {}

  void run() {
    fuse_losses();
    fuse_pooling();
    pool_derivatives();
    fuse_residuals();
    fuse_activations();
    fuse_derivatives();
    graph_.remove_dead_nodes();
  }

 private:
  Node& node(size_t i) { return graph_.nodes[i]; }

  /// crossEntropy(...) and crossEntropyGrad(..., 1) of the same become softmaxCrossEntropy.
  void fuse_losses() {
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      if (node(i).op != Op::crossEntropy) continue;
      for (size_t j = i + 1; j < graph_.nodes.size(); ++j) {
        if (is_gradient_of(node(j), node(i)) && is_one(node(j).inputs[5])) {
          Node& loss = node(i);
          loss.op = Op::softmaxCrossEntropy;
          loss.outputs.push_back(node(j).outputs[0]);
          retire_node(graph_, j);
          break;
        }
      }
    }
  }

  /// The search for maxima whose places the gradient needs is the one that has been done before.
  void fuse_pooling() {
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      if (!is_max_pool(node(i), false)) continue;
      for (size_t j = i + 1; j < graph_.nodes.size(); ++j) {
        if (!is_max_pool(node(j), true) || node(j).inputs != node(i).inputs) continue;
        AttributeStorage with_indices = node(i).attributes;
        reinterpret_cast<ops::PoolAttributes*>(with_indices.bytes.data())->save_indices = true;
        if (with_indices.bytes != node(j).attributes.bytes) continue;
        node(i).attributes = with_indices;
        node(i).outputs.push_back(node(j).outputs[1]);
        graph_.values[static_cast<size_t>(node(j).outputs[1])].index = static_cast<int32_t>(i);
        retire_node(graph_, j);
        break;
      }
    }
  }

  /// relu'(the gradient of maxima; y) = the gradient of relu'(dy; maxima), where y is what the
  /// maxima are of: those are fewer, and y need not be kept.
  void pool_derivatives() {
    const std::vector<int> uses = graph_.count_uses();
    for (size_t j = 0; j < graph_.nodes.size(); ++j) {
      if (node(j).op != Op::reluGrad || node(j).outputs.empty()) continue;
      const ValueId spread = node(j).inputs[0];
      const Node* gradient = graph_.producer(spread);
      if (gradient == nullptr || gradient->op != Op::maxPool2dGrad) continue;
      const Node* pool = graph_.producer(gradient->inputs[1]);
      if (uses[static_cast<size_t>(spread)] != 1 || pool == nullptr || pool->op != Op::maxPool2d ||
          pool->inputs[0] != node(j).inputs[1])
        continue;
      const ValueId result = node(j).outputs[0];
      Node& first = node(static_cast<size_t>(graph_.value(spread).index));
      const Node last = first;
      first = node(j);
      first.inputs = {last.inputs[0], pool->outputs[0]};
      first.outputs = {spread};
      graph_.values[static_cast<size_t>(spread)].tensor = graph_.tensor(pool->outputs[0]);
      node(j) = last;
      node(j).inputs[0] = spread;
      node(j).outputs = {result};
    }
  }

  static bool is_max_pool(const Node& node, bool save_indices) {
    return node.op == Op::maxPool2d && !node.outputs.empty() &&
           node.attrs<ops::PoolAttributes>().save_indices == save_indices;
  }

  static bool is_gradient_of(const Node& gradient, const Node& loss) {
    if (gradient.op != Op::crossEntropyGrad || gradient.outputs.empty()) return false;
    if (!std::equal(loss.inputs.begin(), loss.inputs.end(), gradient.inputs.begin())) return false;
    return gradient.attributes.bytes == loss.attributes.bytes;
  }

  bool is_one(ValueId id) const {
    const Value& value = graph_.value(id);
    if (value.kind != ValueKind::kConstant || value.tensor.numel != 1) return false;
    float number = 0;
    std::memcpy(&number, graph_.constant_data[static_cast<size_t>(value.index)].data.data(),
                sizeof number);
    return number == 1.0F;
  }

  /// convolution + residual or product + residual in one op, where nothing else reads the first and
  /// the residual is there in time.
  void fuse_residuals() {
    const std::vector<int> uses = graph_.count_uses();
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      if (node(i).op != Op::add || node(i).outputs.empty()) continue;
      for (const size_t side : {size_t{1}, size_t{0}}) {
        const ValueId z = node(i).inputs[side];
        const ValueId residual = node(i).inputs[1 - side];
        const Value& value = graph_.value(z);
        if (value.kind != ValueKind::kNode || uses[static_cast<size_t>(z)] != 1) continue;
        const auto at = static_cast<size_t>(value.index);
        if (!takes_residual(node(at), node(i).outputs[0]) || !is_before(residual, at) ||
            !same_shape(graph_.tensor(z), graph_.tensor(residual)))
          continue;
        fuse_residual(at, residual, i);
        break;
      }
    }
  }

  /// Sums that a norm reads are left to it.
  [[nodiscard]] bool takes_residual(const Node& node, ValueId sum) const {
    if (node.op == Op::conv1d || node.op == Op::conv2d) return node.quantization == nullptr;
    if (!adds_in_products_ || !is_product(node.op) || is_normalized(sum)) return false;
    // products of bytes by fixed steps leave sums to addBytes, which gives bytes again
    return node.quantization == nullptr || node.quantization->mode != QuantizationMode::kStatic;
  }

  [[nodiscard]] bool is_normalized(ValueId id) const {
    return std::any_of(graph_.nodes.begin(), graph_.nodes.end(), [id](const Node& node) {
      return (node.op == Op::layerNorm || node.op == Op::rmsNorm) && node.inputs[0] == id;
    });
  }

  [[nodiscard]] bool is_before(ValueId id, size_t at) const {
    const Value& value = graph_.value(id);
    return value.kind != ValueKind::kNode || static_cast<size_t>(value.index) < at;
  }

  void fuse_residual(size_t product, ValueId residual, size_t add) {
    Node& to = node(product);
    if (is_product(to.op)) {
      to.inputs.resize(FusedMatMul::kResidual, kNoValue);
      make_fused(to, Op::fusedMatmul, product_attributes(to));
    } else {
      FusedConv::Attributes attributes{};
      attributes.conv = to.attrs<ops::ConvAttributes>();
      to.inputs.resize(FusedConv::kResidual, kNoValue);
      make_fused(to, Op::fusedConv, attributes);
    }
    to.inputs.push_back(residual);
    to.outputs = {node(add).outputs[0]};
    graph_.values[static_cast<size_t>(to.outputs[0])].index = static_cast<int32_t>(product);
    retire_node(graph_, add);
  }

  /// act(product + bias) in one op; the value before the activation is kept if anything else reads
  /// it.
  void fuse_activations() {
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      if (!takes_activation(node(i)) || node(i).outputs.empty()) continue;
      const ValueId z = node(i).outputs[0];
      size_t activation = graph_.nodes.size();
      int readers = 0;
      for (size_t j = i + 1; j < graph_.nodes.size(); ++j) {
        for (const ValueId in : node(j).inputs) {
          if (in != z) continue;
          ++readers;
          if (is_unary(node(j).op) && activation == graph_.nodes.size()) activation = j;
        }
      }
      for (const ValueId out : graph_.outputs) readers += out == z ? 1 : 0;
      if (activation == graph_.nodes.size()) continue;
      if (readers > 1 && node(i).op == Op::fusedConv) continue;  // what it adds up is not kept
      fuse_activation(i, activation, readers > 1);
    }
  }

  /// A fused convolution or product is one with a residual here.
  static bool takes_activation(const Node& node) {
    return is_product(node.op) || is_convolution(node.op) || node.op == Op::fusedConv ||
           node.op == Op::fusedMatmul;
  }

  void fuse_activation(size_t product, size_t activation, bool save_pre) {
    Node& to = node(product);
    const auto fuse_into = [&](auto attributes, Op fused) {
      attributes.activation = static_cast<int32_t>(node(activation).op);
      attributes.activation_attributes = node(activation).attrs<ElementwiseAttributes>();
      attributes.save_pre = save_pre;
      make_fused(to, fused, attributes);
    };
    if (to.op == Op::fusedConv) {
      fuse_into(to.attrs<FusedConv::Attributes>(), Op::fusedConv);
    } else if (is_convolution(to.op)) {
      FusedConv::Attributes attributes{};
      attributes.conv = to.attrs<ops::ConvAttributes>();
      attributes.transposed = to.op == Op::convTranspose2d;
      fuse_into(attributes, Op::fusedConv);
    } else {
      fuse_into(product_attributes(to), Op::fusedMatmul);
    }
    const ValueId z = to.outputs[0];
    to.outputs = {node(activation).outputs[0]};
    if (save_pre) to.outputs.push_back(z);
    retire_node(graph_, activation);
  }

  /// act'(product; saved) in one op, where nothing else reads the product.
  void fuse_derivatives() {
    const std::vector<int> uses = graph_.count_uses();
    for (size_t j = 0; j < graph_.nodes.size(); ++j) {
      const auto unary = unary_of_grad(node(j).op);
      if (!unary || node(j).outputs.empty()) continue;
      const ValueId dy = node(j).inputs[0];
      const Value& value = graph_.value(dy);
      if (value.kind != ValueKind::kNode || uses[static_cast<size_t>(dy)] != 1) continue;
      const Node& product = node(static_cast<size_t>(value.index));
      if (product.op != Op::matmul && !is_plain_sum(product)) continue;
      auto attributes = product_attributes(product);
      attributes.activation = static_cast<int32_t>(node(j).op);
      attributes.gradient = true;
      attributes.activation_attributes = node(j).attrs<ElementwiseAttributes>();
      const ValueId saved = node(j).inputs.size() > 1 ? node(j).inputs[1] : kNoValue;
      Node& to = node(j);
      to.inputs = {product.inputs[0], product.inputs[1], kNoValue, saved};
      if (product.op == Op::fusedMatmul)
        to.inputs.push_back(product.inputs[FusedMatMul::kResidual]);
      make_fused(to, Op::fusedMatmul, attributes);
      retire_node(graph_, static_cast<size_t>(value.index));
    }
  }

  /// product + residual and nothing more.
  static bool is_plain_sum(const Node& node) {
    return node.op == Op::fusedMatmul && node.inputs.size() > FusedMatMul::kResidual &&
           node.inputs[2] == kNoValue && node.attrs<FusedMatMul::Attributes>().activation < 0;
  }

  static bool is_product(Op op) { return op == Op::linear || op == Op::matmul; }
  static bool is_convolution(Op op) {
    return op == Op::conv1d || op == Op::conv2d || op == Op::convTranspose2d;
  }

  static FusedMatMul::Attributes product_attributes(const Node& product) {
    if (product.op == Op::fusedMatmul) return product.attrs<FusedMatMul::Attributes>();
    FusedMatMul::Attributes attributes{};
    if (product.op == Op::linear) {
      attributes.linear = true;
      attributes.trans_b = true;
    } else {
      attributes.trans_a = product.attrs<MatMul::Attributes>().trans_a;
      attributes.trans_b = product.attrs<MatMul::Attributes>().trans_b;
    }
    return attributes;
  }

  template <typename Attributes>
  static void make_fused(Node& to, Op fused, const Attributes& attributes) {
    to.op = fused;
    to.attributes = make_attributes(fused, {});
    to.attrs<Attributes>() = attributes;
  }

  Graph& graph_;
  bool adds_in_products_;
};

}  // namespace

void fuse(Graph& graph, const Backend& backend) {
  Fuser(graph, backend.adds_in_products()).run();
  fuse_norms(graph);
}

}  // namespace tandem
