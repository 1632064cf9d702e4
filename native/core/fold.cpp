#include "core/fold.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

#include "core/ops/batch_norm.h"
#include "core/ops/conv.h"

namespace tandem {
namespace {

/// What is folded: the parameters of the norm, the weight that they go into and its bias, -1 for
/// none, by their places among all.
using Fold = std::vector<int64_t>;

/// One pass over a description, in which every value is a number: inputs, then parameters,
/// constants and nodes.
class NormFolder {
 public:
  /// Changes `parameters` as well, unless they are null.
  NormFolder(GraphDescription& graph, const ParameterLayout& layout, std::byte* parameters)
      : graph_(graph), layout_(layout), parameters_(parameters) {}

  /// Folds all that can be folded, but nothing beyond `allowed`; returns what that was.
  std::set<Fold> run(const std::set<Fold>* allowed) {
    instantiate(graph_, kSampleRows, false);  // throws unless all numbers and shapes are right
    allowed_ = allowed;
    for (size_t i = 0; i < graph_.nodes.size();) {
      if (!fold(i)) ++i;
    }
    return std::move(done_);
  }

 private:
  [[nodiscard]] int64_t first_parameter() const {
    return static_cast<int64_t>(graph_.inputs.size());
  }
  [[nodiscard]] int64_t first_node() const {
    return first_parameter() +
           static_cast<int64_t>(graph_.parameters.size() + graph_.constants.size());
  }
  [[nodiscard]] bool is_parameter(int64_t number) const {
    return number >= first_parameter() &&
           number < first_parameter() + static_cast<int64_t>(graph_.parameters.size());
  }
  [[nodiscard]] int64_t place(int64_t number) const { return number - first_parameter(); }
  [[nodiscard]] int64_t uses(int64_t number) const {
    int64_t count = std::count(graph_.outputs.begin(), graph_.outputs.end(), number);
    for (const NodeDescription& node : graph_.nodes)
      count += std::count(node.inputs.begin(), node.inputs.end(), number);
    return count;
  }
  /// A parameter that one node alone reads.
  [[nodiscard]] bool is_own(int64_t number) const {
    return is_parameter(number) && uses(number) == 1;
  }
  [[nodiscard]] float* data(int64_t number) const {
    const auto index = static_cast<size_t>(number - first_parameter());
    return reinterpret_cast<float*>(parameters_ + layout_.offsets[index]);
  }
  [[nodiscard]] const Shape& shape(int64_t number) const {
    return graph_.parameters[static_cast<size_t>(number - first_parameter())].shape;
  }

  /// The node before batchNorm `norm` whose weight can take it in; null when there is none. After a
  /// `linear` the axis of channels is 1 only in rows without time.
  [[nodiscard]] NodeDescription* product_before(const NodeDescription& norm) {
    const int64_t number = norm.inputs[0];
    if (number < first_node() || uses(number) != 1) return nullptr;
    NodeDescription& node = graph_.nodes[static_cast<size_t>(number - first_node())];
    const bool is_product = node.op == "linear" || node.op == "conv1d" || node.op == "conv2d" ||
                            node.op == "convTranspose2d";
    // the scales of a quantized weight are fixed
    if (!is_product || node.quantization != nullptr) return nullptr;
    if (node.inputs.size() < 2 || !is_own(node.inputs[1])) return nullptr;
    if (node.op == "linear") {
      std::vector<ValueId> ids;
      const Graph graph = instantiate(graph_, kSampleRows, false, &ids);
      if (graph.tensor(ids[static_cast<size_t>(number)]).rank != 2) return nullptr;
    }
    return shape(node.inputs[1])[0] > 0 ? &node : nullptr;
  }

  /// Folds node `index`; false when it stays.
  bool fold(size_t index) {
    const NodeDescription& norm = graph_.nodes[index];
    if (norm.op != "batchNorm" || norm.inputs.size() != 5) return false;
    for (size_t i = 1; i < norm.inputs.size(); ++i) {
      if (!is_parameter(norm.inputs[i])) return false;
    }
    NodeDescription* product = product_before(norm);
    if (product == nullptr) return false;
    const bool has_bias = product->inputs.size() > 2 && product->inputs[2] != -1;
    if (!is_own(has_bias ? product->inputs[2] : norm.inputs[2])) return false;
    const int64_t bias = has_bias ? product->inputs[2] : -1;
    Fold found;
    for (size_t i = 1; i < norm.inputs.size(); ++i) found.push_back(place(norm.inputs[i]));
    found.push_back(place(product->inputs[1]));
    found.push_back(has_bias ? place(bias) : -1);
    if (allowed_ != nullptr && !allowed_->contains(found)) return false;
    if (parameters_ != nullptr) scale(norm, *product, bias);
    done_.insert(std::move(found));
    if (!has_bias) {
      product->inputs.resize(2);
      product->inputs.push_back(norm.inputs[2]);
    }
    remove(index);
    return true;
  }

  /// How the numbers of a weight belong to the channels of the result: it is [outer, channels of a
  /// group, each], and `outer` rows in a row are of one group.
  struct WeightLayout {
    int64_t groups, outer, channels, each;
  };

  /// A weight begins with the axis of channels, but that of a transposed convolution is [in, out /
  /// groups, ...].
  [[nodiscard]] WeightLayout layout_of(const NodeDescription& product) const {
    const Shape& dims = shape(product.inputs[1]);
    const int64_t numel = make_tensor(dims, DType::kFloat32).numel;
    if (product.op != "convTranspose2d") return {1, 1, dims[0], numel / dims[0]};
    const AttributeStorage storage = make_attributes(Op::convTranspose2d, product.attributes);
    const int64_t groups =
        reinterpret_cast<const ops::ConvAttributes*>(storage.bytes.data())->groups;
    return {groups, dims[0] / groups, dims[1], numel / dims[0] / dims[1]};
  }

  /// Multiplies what belongs to channel `c` of a weight.
  static void scale_channel(const WeightLayout& of, float* weight, int64_t c, double factor) {
    const int64_t group = c / of.channels;
    for (int64_t i = 0; i < of.outer; ++i) {
      float* row = weight + ((group * of.outer + i) * of.channels + c % of.channels) * of.each;
      for (int64_t k = 0; k < of.each; ++k)
        row[k] = static_cast<float>(static_cast<double>(row[k]) * factor);
    }
  }

  /// Scales a weight; the new bias goes into `bias`, or into that of the norm where it is -1.
  void scale(const NodeDescription& norm, const NodeDescription& product, int64_t bias) const {
    const AttributeStorage storage = make_attributes(Op::batchNorm, norm.attributes);
    const auto& own = *reinterpret_cast<const ops::BatchNorm::Attributes*>(storage.bytes.data());
    const float* w = data(norm.inputs[1]);
    const float* b = data(norm.inputs[2]);
    const float* mean = data(norm.inputs[3]);
    const float* variance = data(norm.inputs[4]);
    const WeightLayout layout = layout_of(product);
    for (int64_t c = 0; c < layout.groups * layout.channels; ++c) {
      const double factor = static_cast<double>(w[c]) / std::sqrt(static_cast<double>(variance[c]) +
                                                                  static_cast<double>(own.epsilon));
      scale_channel(layout, data(product.inputs[1]), c, factor);
      const double before = bias == -1 ? 0.0 : static_cast<double>(data(bias)[c]);
      float* to = data(bias == -1 ? norm.inputs[2] : bias);
      to[c] = static_cast<float>((before - static_cast<double>(mean[c])) * factor +
                                 static_cast<double>(b[c]));
    }
  }

  /// Drops a node; what reads it reads its first input.
  void remove(size_t index) {
    const int64_t number = first_node() + static_cast<int64_t>(index);
    const int64_t instead = graph_.nodes[index].inputs[0];
    graph_.nodes.erase(graph_.nodes.begin() + static_cast<std::ptrdiff_t>(index));
    const auto renumber = [&](int64_t& n) { n = n == number ? instead : n > number ? n - 1 : n; };
    for (NodeDescription& node : graph_.nodes) {
      for (int64_t& n : node.inputs) renumber(n);
    }
    for (int64_t& n : graph_.outputs) renumber(n);
  }

  GraphDescription& graph_;
  const ParameterLayout& layout_;
  std::byte* parameters_;
  const std::set<Fold>* allowed_ = nullptr;
  std::set<Fold> done_;
};

/// What can be folded in all graphs. Without one fold another may not be possible: they are tried
/// until no graph lacks one.
std::set<Fold> common_folds(const std::vector<GraphDescription>& graphs,
                            const ParameterLayout& layout) {
  GraphDescription first = graphs.front();
  std::set<Fold> common = NormFolder(first, layout, nullptr).run(nullptr);
  for (size_t before = common.size() + 1; common.size() < before;) {
    before = common.size();
    for (const GraphDescription& graph : graphs) {
      GraphDescription copy = graph;
      common = NormFolder(copy, layout, nullptr).run(&common);
    }
  }
  return common;
}

}  // namespace

void fold_norms(std::vector<GraphDescription>& graphs, const ParameterLayout& layout,
                std::byte* parameters) {
  const std::set<Fold> common = common_folds(graphs, layout);
  for (size_t i = 0; i < graphs.size(); ++i)
    NormFolder(graphs[i], layout, i == 0 ? parameters : nullptr).run(&common);
}

}  // namespace tandem
