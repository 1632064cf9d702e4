#include "core/row_flow.h"

#include <algorithm>

#include "core/all_ops.h"

namespace tandem {

namespace {

/// Of a value that does not depend on any row.
constexpr int kNoAxis = -1;

/// Along which axis of each value the rows lie. Along that axis, of k * rows positions, positions
/// k * r to k * r + k - 1 depend on row r alone.
class RowFlow {
 public:
  explicit RowFlow(const Graph& graph) : graph_(graph), axes_(graph.values.size(), kNoAxis) {}

  void start(ValueId input) { axes_[static_cast<size_t>(input)] = 0; }

  /// Follows the rows through a node; false where it relates them.
  bool follow(const Node& node) {
    const bool depends = std::any_of(node.inputs.begin(), node.inputs.end(),
                                     [this](ValueId id) { return axis_of(id) != kNoAxis; });
    if (!depends) return true;
    const std::optional<int> axis = through(node);
    if (!axis) return false;
    for (const ValueId id : node.outputs) axes_[static_cast<size_t>(id)] = *axis;
    return true;
  }

  [[nodiscard]] int axis_of(ValueId id) const {
    return id == kNoValue ? kNoAxis : axes_[static_cast<size_t>(id)];
  }

 private:
  using Axis = std::optional<int>;

  [[nodiscard]] const Tensor& input(const Node& node, size_t i) const {
    return graph_.tensor(node.inputs[i]);
  }
  [[nodiscard]] const Tensor& output(const Node& node) const {
    return graph_.tensor(node.outputs[0]);
  }
  [[nodiscard]] int axis(const Node& node, size_t i) const {
    return i < node.inputs.size() ? axis_of(node.inputs[i]) : kNoAxis;
  }

  /// That of input 0, where no other input depends on rows.
  [[nodiscard]] Axis alone(const Node& node) const {
    for (size_t i = 1; i < node.inputs.size(); ++i) {
      if (axis(node, i) != kNoAxis) return std::nullopt;
    }
    return axis(node, 0);
  }

  /// That which all inputs that depend on rows have.
  [[nodiscard]] Axis shared(const Node& node) const {
    Axis common;
    for (const ValueId id : node.inputs) {
      const int axis = axis_of(id);
      if (axis == kNoAxis) continue;
      if (common && *common != axis) return std::nullopt;
      common = axis;
    }
    return common;
  }

  /// The same counted from the last axis, as operands meet that are broadcast.
  [[nodiscard]] Axis broadcast(const Node& node) const {
    const int rank = output(node).rank;
    Axis common;
    for (const ValueId id : node.inputs) {
      const int axis = axis_of(id);
      if (axis == kNoAxis) continue;
      const int there = axis + rank - graph_.tensor(id).rank;
      if (common && *common != there) return std::nullopt;
      common = there;
    }
    return common;
  }

  static Axis unless(bool related, const Axis& axis) { return related ? std::nullopt : axis; }
  static Axis first(const Axis& axis) { return axis == 0 ? axis : std::nullopt; }
  static bool has(const IntList& axes, int axis) {
    return std::find(axes.values, axes.values + axes.count, axis) != axes.values + axes.count;
  }

  /// Elements stay in their order: the axis of rows is where as many elements come before it.
  [[nodiscard]] Axis reshaped(const Node& node) const {
    const Tensor& from = input(node, 0);
    const Tensor& to = output(node);
    int64_t before = 1;
    for (int i = 0; i < axis(node, 0); ++i) before *= from.dims[i];
    int64_t outside = 1;
    for (int i = 0; i < to.rank && outside <= before; ++i) {
      if (outside == before && to.dims[i] != 0 && to.dims[i] % kSampleRows == 0) return i;
      outside *= to.dims[i];
    }
    return std::nullopt;
  }

  [[nodiscard]] Axis transposed(const Node& node) const {
    const IntList& perm = node.attrs<ops::Transpose::Attributes>().perm;
    const auto* const end = perm.values + perm.count;
    return static_cast<int>(std::find(perm.values, end, axis(node, 0)) - perm.values);
  }

  [[nodiscard]] Axis reduced(const Node& node) const {
    const auto& attributes = node.attrs<ops::ReduceAttributes>();
    const int rows = axis(node, 0);
    if (has(attributes.axes, rows)) return std::nullopt;
    if (attributes.keep_dims) return rows;
    const auto* const end = attributes.axes.values + attributes.axes.count;
    return rows - static_cast<int>(std::count_if(attributes.axes.values, end,
                                                 [rows](int64_t i) { return i < rows; }));
  }

  [[nodiscard]] Axis product(const Node& node) const {
    const auto& attributes = node.attrs<ops::MatMul::Attributes>();
    const auto place = [&](size_t i, int matrix_axis, int result_axis) -> Axis {
      const int rows = axis(node, i);
      const int rank = input(node, i).rank;
      if (rows < rank - 2) return rows + output(node).rank - rank;
      if (axis(node, 1 - i) == kNoAxis && rows == rank + matrix_axis)
        return output(node).rank + result_axis;
      return std::nullopt;
    };
    if (axis(node, 1) == kNoAxis) return place(0, attributes.trans_a ? -1 : -2, -2);
    const Axis b = place(1, attributes.trans_b ? -2 : -1, -1);
    if (axis(node, 0) == kNoAxis || !b) return b;
    return unless(place(0, attributes.trans_a ? -1 : -2, -2) != b, b);
  }

  /// gather(x, index): rows of x where they are, or rows of an index into what is the same for all.
  [[nodiscard]] Axis gathered(const Node& node) const {
    if (axis(node, 0) == kNoAxis) return axis(node, 1);
    return unless(node.attrs<ops::GatherAttributes>().axis == axis(node, 0), shared(node));
  }

  [[nodiscard]] Axis padded(const Node& node) const {
    const auto& attributes = node.attrs<ops::PadAttributes>();
    const int rows = axis(node, 0);
    return unless(attributes.before.values[rows] != 0 || attributes.after.values[rows] != 0, rows);
  }

  [[nodiscard]] Axis sliced(const Node& node) const {
    const int rows = axis(node, 0);
    return unless(output(node).dims[rows] != input(node, 0).dims[rows], rows);
  }

  /// A mask of another rank would be broadcast along the rows.
  [[nodiscard]] Axis attended(const Node& node) const {
    const bool mask = axis(node, 3) != kNoAxis;
    const int heads = node.attrs<ops::AttentionAttributes>().heads > 0 ? 1 : 0;
    const int rank = input(node, 0).rank + heads;
    return unless(mask && input(node, 3).rank != rank, first(shared(node)));
  }

  /// Positions are those along the axis before the last.
  [[nodiscard]] Axis rotated(const Node& node) const {
    const Axis rows = shared(node);
    return unless(rows && *rows >= input(node, 0).rank - 2, rows);
  }

  /// That of input 0 unless it is the last, along which rows are summed up.
  [[nodiscard]] Axis not_last(const Node& node) const {
    const Axis rows = shared(node);
    return unless(rows && *rows == input(node, 0).rank - 1, rows);
  }

  [[nodiscard]] Axis through(const Node& node) const;

  const Graph& graph_;
  std::vector<int> axes_;  ///< by value
};

std::optional<int> RowFlow::through(const Node& node) const {
  switch (node.op) {
#define UNARY(name, A, a_default, B, b_default, forward, derivative, SAVED) case Op::name:
#define BINARY(name, forward, gradient_a, gradient_b) case Op::name:
#include "core/elementwise.def"
    case Op::where:
    case Op::dropout:
    case Op::broadcastTo:
      return broadcast(node);
    case Op::linear:
      return unless(!alone(node), not_last(node));
    case Op::matmul:
      return product(node);
    case Op::conv1d:
    case Op::conv2d:
    case Op::convTranspose2d:
    case Op::maxPool2d:
    case Op::avgPool2d:
    case Op::groupNorm:
    case Op::lstm:
    case Op::gru:
      return first(alone(node));
    case Op::sum:
    case Op::mean:
    case Op::max:
    case Op::min:
    case Op::variance:
      return reduced(node);
    case Op::softmax:
    case Op::logSoftmax:
      return unless(node.attrs<ops::SoftmaxAttributes>().axis == axis(node, 0), axis(node, 0));
    case Op::cumsum:
      return unless(node.attrs<ops::CumSum::Attributes>().axis == axis(node, 0), axis(node, 0));
    case Op::flip:
      return unless(node.attrs<ops::Flip::Attributes>().axis == axis(node, 0), axis(node, 0));
    case Op::attention:
      return attended(node);
    case Op::rotary:
      return rotated(node);
    case Op::batchNorm:
      return unless(node.attrs<ops::BatchNormAttributes>().by_batch, first(alone(node)));
    case Op::layerNorm:
    case Op::rmsNorm:
      return unless(!alone(node), not_last(node));
    case Op::reshape:
    case Op::flatten:
      return reshaped(node);
    case Op::transpose:
      return transposed(node);
    case Op::concat:
      return unless(node.attrs<ops::Concat::Attributes>().axis == shared(node), shared(node));
    case Op::slice:
      return sliced(node);
    case Op::embedding:
      return alone(node);
    case Op::gather:
      return gathered(node);
    case Op::pad:
      return padded(node);
    default:
      // Losses, above all: one number for all rows.
      return std::nullopt;
  }
}

}  // namespace

std::optional<Op> op_relating_rows(const GraphDescription& description) {
  Graph graph = instantiate(description, kSampleRows, false);
  graph.remove_dead_nodes();
  RowFlow flow(graph);
  for (size_t i = 0; i < description.inputs.size(); ++i) {
    const Shape& shape = description.inputs[i].shape;
    if (!shape.empty() && shape[0] == -1) flow.start(graph.inputs[i]);
  }
  for (const Node& node : graph.nodes) {
    if (!flow.follow(node)) return node.op;
  }
  for (const ValueId id : graph.outputs) {
    // Rows that end along another axis were put there by the op that made the output.
    const Node* const producer = graph.producer(id);
    if (flow.axis_of(id) > 0 && producer != nullptr) return producer->op;
  }
  return std::nullopt;
}

}  // namespace tandem
