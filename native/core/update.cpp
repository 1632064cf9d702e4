#include "core/update.h"

#include <algorithm>
#include <cstring>

#include "core/ops/batch_norm.h"
#include "core/ops/matmul.h"
#include "core/ops/product_update.h"

namespace tandem {
namespace {

constexpr auto kFloatBytes = static_cast<int64_t>(sizeof(float));

int64_t trainable_floats(const ParameterLayout& layout) {
  return layout.trainable_bytes / kFloatBytes;
}

/// Running statistics follow the batch's. They are no parameters that the optimizer knows: these
/// nodes change them, and leave them alone in a step that is skipped.
void add_statistics(Graph& graph) {
  const size_t nodes = graph.nodes.size();
  for (size_t i = 0; i < nodes; ++i) {
    const Node& node = graph.nodes[i];
    if (node.op != Op::batchNorm && node.op != Op::pooledNorm) continue;
    const auto& own = node.attrs<ops::BatchNormAttributes>();  // the first of pooledNorm's, too
    if (!own.by_batch || !own.running) continue;
    const ValueId mean = node.inputs[ops::BatchNorm::kMean];
    const ValueId variance = node.inputs[ops::BatchNorm::kVariance];
    if (graph.value(mean).kind != ValueKind::kParameter ||
        graph.value(variance).kind != ValueKind::kParameter) {
      continue;  // statistics that a user feeds
    }
    const int64_t channels = std::max<int64_t>(graph.tensor(mean).numel, 1);
    AttributeStorage storage = make_attributes(Op::batchNormUpdate, {});
    *reinterpret_cast<ops::BatchNormUpdate::Attributes*>(storage.bytes.data()) = {
        own.momentum, graph.tensor(node.inputs[0]).numel / channels};
    std::vector<ValueId> operands{mean, variance, node.outputs[1], node.outputs[2]};
    graph.apply(Op::batchNormUpdate, std::move(operands), storage);
  }
}

/// Whether a step may turn out to be one that is skipped.
bool checks(const UpdateOptions& options) { return options.check_numerics || options.scales_loss; }

/// The value whose memory `id` is, behind reshapes.
ValueId root_of(const Graph& graph, ValueId id) {
  for (const Node* node = graph.producer(id);
       node != nullptr && (info(node->op).flags & kAlias) != 0; node = graph.producer(id)) {
    id = node->inputs[0];
  }
  return id;
}

/// Parameters one after the other in the arena, and the last node that must precede their update.
struct Range {
  int64_t first, count;  ///< floats
  size_t after;
  int32_t group;
};

class Updates {
 public:
  Updates(Graph& graph, std::vector<Pin>& pins, const std::vector<ParameterDescription>& parameters,
          const ParameterLayout& layout, const UpdateOptions& options)
      : graph_(graph),
        pins_(pins),
        parameters_(parameters),
        layout_(layout),
        options_(options),
        arena_(optimizer_layout(parameters, layout, options)),
        slots_(arena_.slots),
        gradients_at_(options.apart ? trainable_floats(layout) : 0),
        squares_at_(arena_.squares) {}

  /// The norm of all gradients, then a sweep over each run of parameters of a group.
  void add_sweep(ValueId loss) {
    const ValueId all =
        graph_.add_arena(ArenaKind::kGradients, gradients_at_, trainable_floats(layout_));
    if (options_.scales_loss) graph_.apply(Op::unscaleGradients, {all});
    if (options_.max_gradient_value > 0) {
      graph_.apply(Op::clipGradients, {all},
                   make_attributes(Op::clipGradients, {{"maxValue", options_.max_gradient_value}}));
    }
    add_norm(all, loss, false);
    for (const Range& range : ranges()) add_update(range, kNoValue);
  }

  /// The same sweeps, which sum the squares that the norm follows from.
  void add_measuring_sweep(ValueId loss) {
    for (const Range& range : ranges())
      add_update(range, take_squares(ops::sweep_tiles(range.count)));
    add_norm(taken_squares(), loss, true);
  }

  /// Updates in between the other nodes, then the norm.
  void add_in_place(ValueId loss) {
    find_last_uses();
    uses_ = graph_.count_uses();
    for (size_t i = 0; i < graph_.nodes.size(); ++i) keys_.push_back(2 * i);
    Range range{};
    for (size_t i = 0; i < parameters_.size(); ++i) {
      if (!parameters_[i].trainable) continue;
      const bool fused = !is_frozen(i) && fuse(i);
      if (fused || !joins(range, i)) flush(range);
      if (!fused && !is_frozen(i)) extend(range, i);
    }
    flush(range);
    sort_nodes();
    add_norm(taken_squares(), loss, true);
  }

  /// Moves the averages on, once all updates are made.
  void add_averages() {
    if (options_.average_decay == 0) return;
    const int64_t count = trainable_floats(layout_);
    graph_.apply(Op::averageParameters,
                 {graph_.add_arena(ArenaKind::kOptimizer, arena_.averages, count),
                  graph_.add_arena(ArenaKind::kParameters, 0, count)},
                 make_attributes(Op::averageParameters, {{"decay", options_.average_decay}}));
  }

 private:
  [[nodiscard]] int32_t group_of(size_t parameter) const { return options_.group_of[parameter]; }
  [[nodiscard]] bool is_frozen(size_t parameter) const {
    return group_of(parameter) == UpdateOptions::kFrozen;
  }

  /// Whether one node may update this parameter with those of the range. lamb looks at parameters
  /// one by one.
  [[nodiscard]] bool joins(const Range& range, size_t parameter) const {
    return range.count > 0 && range.group == group_of(parameter) && options_.optimizer != Op::lamb;
  }

  /// All parameters that change.
  std::vector<Range> ranges() {
    last_use_.assign(parameters_.size(), 0);
    std::vector<Range> found;
    Range range{};
    for (size_t i = 0; i < parameters_.size(); ++i) {
      if (!parameters_[i].trainable) continue;
      if (!joins(range, i)) {
        if (range.count > 0) found.push_back(range);
        range = {};
      }
      if (!is_frozen(i)) extend(range, i);
    }
    if (range.count > 0) found.push_back(range);
    return found;
  }

  void add_norm(ValueId gradients, ValueId loss, bool squared) {
    // no scale mends a loss, which is a NaN in a batch without a target that counts
    const ValueId looked_at = options_.check_numerics ? loss : kNoValue;
    graph_.apply(Op::gradientNorm, {gradients, looked_at},
                 make_attributes(Op::gradientNorm, {{"maxNorm", options_.max_gradient_norm},
                                                    {"check", checks(options_)},
                                                    {"squared", squared}}));
  }

  ValueId state_of(int64_t first, int64_t count) {
    if (slots_ == 0) return kNoValue;
    return graph_.add_arena(ArenaKind::kOptimizer, slots_ * first, slots_ * count);
  }

  ValueId take_squares(int64_t count) {
    const ValueId squares = graph_.add_arena(ArenaKind::kOptimizer, squares_at_, count);
    squares_at_ += count;
    return squares;
  }

  ValueId taken_squares() {
    return graph_.add_arena(ArenaKind::kOptimizer, arena_.squares, squares_at_ - arena_.squares);
  }

  void add_update(const Range& range, ValueId squares) {
    const ValueId parameters = graph_.add_arena(ArenaKind::kParameters, range.first, range.count);
    const ValueId gradients =
        graph_.add_arena(ArenaKind::kGradients, gradients_at_ + range.first, range.count);
    graph_.apply(options_.optimizer,
                 {parameters, gradients, state_of(range.first, range.count), squares},
                 options_.groups[static_cast<size_t>(range.group)]);
  }

  /// For each parameter the last node that reads it or computes its gradient.
  void find_last_uses() {
    last_use_.assign(parameters_.size(), 0);
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      for (const ValueId id : graph_.nodes[i].inputs) {
        if (id == kNoValue) continue;
        const Value& value = graph_.value(root_of(graph_, id));
        if (value.kind == ValueKind::kParameter) last_use_[static_cast<size_t>(value.index)] = i;
      }
    }
    for (const Pin& pin : pins_) {
      const Value& value = graph_.value(root_of(graph_, pin.value));
      size_t& last = last_use_[static_cast<size_t>(pin.place.index)];
      last = std::max(last, static_cast<size_t>(value.index));
    }
  }

  /// Turns the product that is a parameter's gradient into its update.
  bool fuse(size_t parameter) {
    const auto pin = std::find_if(pins_.begin(), pins_.end(), [&](const Pin& p) {
      return static_cast<size_t>(p.place.index) == parameter;
    });
    if (pin == pins_.end() || !is_plain_product(pin->value, parameter)) return false;
    const auto index = static_cast<size_t>(graph_.value(pin->value).index);
    const int64_t first = layout_.offsets[parameter] / kFloatBytes;
    const Shape& shape = parameters_[parameter].shape;
    const int64_t count = shape[0] * shape[1];
    std::vector<ValueId> operands = graph_.nodes[index].inputs;
    operands.push_back(graph_.add_arena(ArenaKind::kParameters, first, count));
    operands.push_back(state_of(first, count));
    operands.push_back(take_squares(shape[0]));
    graph_.apply(Op::productUpdate, std::move(operands),
                 update_attributes(graph_.nodes[index], group_of(parameter)));
    keys_.push_back(2 * last_use_[parameter] + 1);
    keys_[index] = kRemoved;
    pins_.erase(pin);
    return true;
  }

  [[nodiscard]] bool is_plain_product(ValueId gradient, size_t parameter) const {
    if (options_.optimizer == Op::lamb) return false;
    const Node* node = graph_.producer(gradient);
    if (node == nullptr || node->op != Op::matmul || uses_[static_cast<size_t>(gradient)] != 0)
      return false;
    // It runs later than the product would, when other parameters may have been updated.
    for (const ValueId factor : node->inputs) {
      if (graph_.value(root_of(graph_, factor)).kind == ValueKind::kParameter) return false;
    }
    const Shape& shape = parameters_[parameter].shape;
    return shape.size() == 2 && shape[1] <= ops::ProductUpdate::kMaxColumns &&
           shape_of(graph_.tensor(gradient)) == shape && graph_.tensor(node->inputs[0]).rank == 2 &&
           graph_.tensor(node->inputs[1]).rank == 2;
  }

  [[nodiscard]] AttributeStorage update_attributes(const Node& product, int32_t group) const {
    AttributeStorage storage = make_attributes(Op::productUpdate, {});
    auto& attributes = *reinterpret_cast<ops::ProductUpdate::Attributes*>(storage.bytes.data());
    attributes.trans_a = product.attrs<ops::MatMul::Attributes>().trans_a;
    attributes.trans_b = product.attrs<ops::MatMul::Attributes>().trans_b;
    attributes.optimizer = static_cast<int32_t>(options_.optimizer);
    std::memcpy(attributes.optimizer_attributes.data(),
                options_.groups[static_cast<size_t>(group)].bytes.data(),
                attributes.optimizer_attributes.size());
    return storage;
  }

  /// Adds a parameter, with the padding before it, to those that one sweep updates.
  void extend(Range& range, size_t parameter) {
    const int64_t first = layout_.offsets[parameter] / kFloatBytes;
    const int64_t count = make_tensor(parameters_[parameter].shape, DType::kFloat32).numel;
    if (range.count == 0) range = {first, 0, 0, group_of(parameter)};
    range.count = first + count - range.first;
    range.after = std::max(range.after, last_use_[parameter]);
  }

  void flush(Range& range) {
    if (range.count > 0) {
      add_update(range, take_squares(ops::sweep_tiles(range.count)));
      keys_.push_back(2 * range.after + 1);
    }
    range = {};
  }

  void sort_nodes() {
    std::vector<size_t> order;
    for (size_t i = 0; i < keys_.size(); ++i) {
      if (keys_[i] != kRemoved) order.push_back(i);
    }
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return keys_[a] < keys_[b]; });
    graph_.reorder(order);
  }

  static constexpr size_t kRemoved = static_cast<size_t>(-1);

  Graph& graph_;
  std::vector<Pin>& pins_;
  const std::vector<ParameterDescription>& parameters_;
  const ParameterLayout& layout_;
  const UpdateOptions& options_;
  OptimizerLayout arena_;
  int64_t slots_;
  int64_t gradients_at_;
  int64_t squares_at_;
  std::vector<size_t> last_use_;  ///< by parameter
  std::vector<int> uses_;         ///< by value
  std::vector<size_t> keys_;      ///< by node: order of execution
};

}  // namespace

int optimizer_slots(Op optimizer, const AttributeStorage& attributes) {
  const void* bytes = attributes.bytes.data();
  switch (optimizer) {
    case Op::sgd:
      return static_cast<const ops::Sgd::Attributes*>(bytes)->momentum != 0 ? 1 : 0;
    case Op::adam:
    case Op::lamb:
      return 2;
    case Op::rmsprop: {
      const auto* rmsprop = static_cast<const ops::RmsProp::Attributes*>(bytes);
      return 1 + (rmsprop->momentum != 0 ? 1 : 0) + (rmsprop->centered ? 1 : 0);
    }
    case Op::adagrad:
    case Op::lion:
      return 1;
    default:
      fail(ErrorCode::kArgument, std::string("expected an optimizer, received ") + name(optimizer));
  }
}

OptimizerLayout optimizer_layout(const std::vector<ParameterDescription>& parameters,
                                 const ParameterLayout& layout, const UpdateOptions& options) {
  // a sum for each row of a matrix, or for each tile of a sweep with the padding between
  int64_t squares = 0;
  for (const ParameterDescription& parameter : parameters) {
    squares += ops::sweep_tiles(make_tensor(parameter.shape, DType::kFloat32).numel) + 1;
    if (parameter.shape.size() == 2) squares += parameter.shape[0];
  }
  const int64_t trainable = trainable_floats(layout);
  OptimizerLayout arena;
  arena.slots = optimizer_slots(options.optimizer, options.groups[0]);
  arena.squares = checked_mul(trainable, arena.slots);
  arena.averages =
      align_up(checked_mul(checked_add(arena.squares, squares), kFloatBytes)) / kFloatBytes;
  arena.floats = checked_add(arena.averages, options.average_decay == 0 ? 0 : trainable);
  return arena;
}

std::vector<StateRange> state_ranges(const Graph& graph) {
  std::vector<StateRange> ranges;
  for (const Node& node : graph.nodes) {
    const bool fused = node.op == Op::productUpdate;
    const bool sweep = node.op == Op::sgd || node.op == Op::adam || node.op == Op::rmsprop ||
                       node.op == Op::adagrad || node.op == Op::lion || node.op == Op::lamb;
    if (!fused && !sweep) continue;
    const Value& parameters = graph.value(node.inputs[fused ? 2 : 0]);
    ranges.push_back({parameters.offset / kFloatBytes, parameters.tensor.numel});
  }
  return ranges;
}

void add_updates(Graph& graph, std::vector<Pin>& pins, ValueId loss,
                 const std::vector<ParameterDescription>& parameters, const ParameterLayout& layout,
                 const UpdateOptions& options) {
  // with numeric checks the norm says whether the step counts, so it comes before the statistics
  Updates updates(graph, pins, parameters, layout, options);
  if (options.max_gradient_norm > 0 || options.max_gradient_value > 0 || checks(options)) {
    updates.add_sweep(loss);
    add_statistics(graph);
  } else {
    add_statistics(graph);
    if (options.on_the_way) {
      updates.add_in_place(loss);
    } else {
      updates.add_measuring_sweep(loss);
    }
  }
  updates.add_averages();
}

void add_accumulation(Graph& graph, ValueId loss, const ParameterLayout& layout,
                      const UpdateOptions& options) {
  const int64_t count = trainable_floats(layout);
  const ValueId sums = graph.add_arena(ArenaKind::kGradients, count, count);
  graph.apply(Op::accumulateGradients, {sums, graph.add_arena(ArenaKind::kGradients, 0, count)});
  // before the statistics, which a step that is skipped leaves alone
  if (checks(options)) {
    graph.apply(Op::gradientNorm, {sums, options.check_numerics ? loss : kNoValue},
                make_attributes(Op::gradientNorm, {{"check", true}}));
  }
  add_statistics(graph);
}

Graph update_graph(const std::vector<ParameterDescription>& parameters,
                   const ParameterLayout& layout, const UpdateOptions& options) {
  Graph graph;
  std::vector<Pin> pins;
  Updates updates(graph, pins, parameters, layout, options);
  updates.add_sweep(kNoValue);
  updates.add_averages();
  return graph;
}

}  // namespace tandem
