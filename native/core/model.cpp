#include "core/model.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/random.h"

namespace tandem {
namespace {

std::string quoted(const std::string& name) { return "`" + name + "`"; }

Shape at_batch(const InputDescription& input, int64_t batch) {
  Shape shape = input.shape;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] != -1) continue;
    if (i != 0)
      fail(ErrorCode::kShape,
           "expected a free batch at axis 0 only for input " + quoted(input.name));
    shape[i] = batch;
  }
  return shape;
}

/// Whether a description may have this op. Files may not have the one that changes an input: lib/
/// refuses internal ops in them.
bool may_be_described(Op op) {
  return (info(op).flags & kInternal) == 0 || op == Op::cachedAttention;
}

/// What an op changes is the caller's: never a parameter, a constant or what other nodes give.
void check_writes(const Graph& graph, Op op, const std::vector<ValueId>& operands) {
  for (size_t i = 0; i < operands.size() && i < 32; ++i) {
    if ((info(op).writes >> i & 1U) == 0 || operands[i] == kNoValue) continue;
    if (graph.value(operands[i]).kind == ValueKind::kInput) continue;
    fail(ErrorCode::kArgument,
         std::string("expected an input of the graph for what ") + name(op) + " changes");
  }
}

/// Adds one described node; its inputs must be values that exist already, so there are no cycles.
void add_node(Graph& graph, const NodeDescription& described, bool training,
              std::vector<ValueId>& ids) {
  const std::optional<Op> op = find_op(described.op);
  if (!op || !may_be_described(*op)) {
    fail(ErrorCode::kArgument, "expected a known op, received " + quoted(described.op));
  }
  std::vector<ValueId> operands;
  for (const int64_t number : described.inputs) {
    if (number < -1 || number >= static_cast<int64_t>(ids.size())) {
      fail(ErrorCode::kArgument, "expected inputs of " + described.op +
                                     " before it (no cycles), received value " +
                                     std::to_string(number));
    }
    operands.push_back(number == -1 ? kNoValue : ids[static_cast<size_t>(number)]);
  }
  check_writes(graph, *op, operands);
  AttributeStorage attributes = make_attributes(*op, described.attributes);
  if (training && info(*op).in_training != nullptr) info(*op).in_training(attributes);
  if (!training && (info(*op).flags & kTrainingOnly) != 0) {
    if (operands.empty() || operands[0] == kNoValue) {
      fail(ErrorCode::kArgument, "expected an input of " + described.op + ", received none");
    }
    ids.push_back(operands[0]);
    return;
  }
  // what a node gives beside its first output is for its own gradient
  ids.push_back(graph.apply(*op, std::move(operands), attributes));
  graph.nodes.back().quantization = described.quantization.get();
}

/// Bytes mean something to the quantized nodes alone whose weight they are.
void check_bytes(const GraphDescription& graph) {
  const auto first = static_cast<int64_t>(graph.inputs.size());
  const auto is_bytes = [&](int64_t number) {
    return number >= first && number - first < static_cast<int64_t>(graph.parameters.size()) &&
           graph.parameters[static_cast<size_t>(number - first)].is_bytes;
  };
  bool fits = std::none_of(graph.outputs.begin(), graph.outputs.end(), is_bytes);
  for (const NodeDescription& node : graph.nodes) {
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      if (!is_bytes(node.inputs[i])) continue;
      fits = fits && i == 1 && node.quantization != nullptr && node.quantization->weight_is_bytes;
    }
  }
  if (!fits) {
    fail(ErrorCode::kArgument,
         "expected parameters of bytes to be weights of quantized nodes alone");
  }
}

double to_unit(uint32_t high, uint32_t low) {
  const uint64_t bits = (static_cast<uint64_t>(high) << 32 | low) >> 11;
  return static_cast<double>(bits) * 0x1p-53;
}

/// Standard normal numbers by Box and Muller (1958), two from one Philox block.
void normal_pair(const Philox& block, double out[2]) {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - to_unit(block.word[0], block.word[1])));
  const double angle = 2.0 * std::numbers::pi * to_unit(block.word[2], block.word[3]);
  out[0] = radius * std::cos(angle);
  out[1] = radius * std::sin(angle);
}

/// `data` holds zeros.
void fill(float* data, int64_t count, const Initializer& init, uint64_t seed, uint64_t stream) {
  if (init.kind == InitializerKind::kConstant) {
    if (init.a != 0) std::fill_n(data, count, static_cast<float>(init.a));
    return;
  }
  int64_t written = 0;
  for (uint64_t block = 0; written < count; ++block) {
    const Philox random = philox(seed, block, stream);
    double pair[2] = {init.a, init.a};
    if (init.kind == InitializerKind::kUniform) {
      pair[0] = init.a + (init.b - init.a) * to_unit(random.word[0], random.word[1]);
      pair[1] = init.a + (init.b - init.a) * to_unit(random.word[2], random.word[3]);
    } else {
      double z[2];
      normal_pair(random, z);
      pair[0] = init.a + init.b * z[0];
      pair[1] = init.a + init.b * z[1];
      // beyond two deviations: drawn again, from later blocks
      if (init.kind == InitializerKind::kTruncatedNormal) {
        for (int i = 0; i < 2 && written < count; ++i) {
          if (std::abs(z[i]) <= 2.0) data[written++] = static_cast<float>(pair[i]);
        }
        continue;
      }
    }
    for (int i = 0; i < 2 && written < count; ++i) data[written++] = static_cast<float>(pair[i]);
  }
}

uint64_t hash(const std::string& text) {
  uint64_t h = 0xcbf29ce484222325U;  // FNV-1a
  for (const char c : text) h = (h ^ static_cast<uint8_t>(c)) * 0x100000001b3U;
  return h;
}

}  // namespace

Graph instantiate(const GraphDescription& description, int64_t batch, bool training,
                  std::vector<ValueId>* ids) {
  check_bytes(description);
  Graph graph;
  std::vector<ValueId> numbers;
  for (const InputDescription& input : description.inputs) {
    numbers.push_back(graph.add_input(make_tensor(at_batch(input, batch), input.dtype)));
  }
  for (const ParameterDescription& parameter : description.parameters) {
    numbers.push_back(graph.add_parameter(make_tensor(parameter.shape, DType::kFloat32)));
  }
  for (const Constant& constant : description.constants) {
    if (static_cast<int64_t>(constant.data.size()) != byte_size(constant.tensor)) {
      fail(ErrorCode::kShape, "expected as many elements of a constant as its shape " +
                                  to_string(constant.tensor) + " says");
    }
    numbers.push_back(graph.add_constant(constant));
  }
  for (const NodeDescription& node : description.nodes) add_node(graph, node, training, numbers);
  for (const int64_t number : description.outputs) {
    if (number < 0 || number >= static_cast<int64_t>(numbers.size())) {
      fail(ErrorCode::kArgument,
           "expected outputs among the graph's values, received " + std::to_string(number));
    }
    graph.outputs.push_back(numbers[static_cast<size_t>(number)]);
  }
  if (graph.outputs.empty())
    fail(ErrorCode::kArgument, "expected at least one output, received none");
  if (ids != nullptr) *ids = std::move(numbers);
  return graph;
}

int64_t row_elements(const InputDescription& input) {
  return make_tensor(at_batch(input, 1), input.dtype).numel;
}

bool has_free_batch(const GraphDescription& description) {
  for (const InputDescription& input : description.inputs) {
    if (!input.shape.empty() && input.shape[0] == -1) return true;
  }
  return false;
}

Tensor stored_tensor(const ParameterDescription& parameter) {
  return make_tensor(parameter.shape, parameter.is_bytes ? DType::kUInt8 : DType::kFloat32);
}

ParameterLayout make_layout(const std::vector<ParameterDescription>& parameters) {
  ParameterLayout layout;
  layout.offsets.assign(parameters.size(), 0);
  // trainable ones first, so that the optimizer sweeps one range
  for (const bool trainable : {true, false}) {
    for (size_t i = 0; i < parameters.size(); ++i) {
      if (parameters[i].trainable != trainable) continue;
      layout.offsets[i] = layout.bytes;
      layout.bytes = checked_add(layout.bytes, align_up(byte_size(stored_tensor(parameters[i]))));
    }
    if (trainable) layout.trainable_bytes = layout.bytes;
  }
  return layout;
}

ParameterStore::ParameterStore(std::vector<ParameterDescription> parameters, uint64_t seed)
    : descriptions_(std::move(parameters)),
      layout_(make_layout(descriptions_)),
      memory_(cpu_backend().allocate(layout_.bytes)) {
  for (size_t i = 0; i < descriptions_.size(); ++i) {
    const ParameterDescription& parameter = descriptions_[i];
    for (size_t j = 0; j < i; ++j) {
      if (descriptions_[j].name == parameter.name) {
        fail(ErrorCode::kArgument, "expected distinct names of parameters, received " +
                                       quoted(parameter.name) + " twice");
      }
    }
    if (parameter.is_bytes) continue;
    // a parameter's numbers depend on its name alone: adding a layer leaves the others as they were
    auto* data = reinterpret_cast<float*>(memory_.data.get() + layout_.offsets[i]);
    fill(data, make_tensor(parameter.shape, DType::kFloat32).numel, parameter.initializer, seed,
         hash(parameter.name));
  }
}

Memory ParameterStore::resident(const Backend& backend) const {
  if (backend.shares_host_memory() || layout_.bytes == 0) return memory_;
  std::weak_ptr<std::byte>& slot = resident_[&backend];
  if (std::shared_ptr<std::byte> data = slot.lock()) return {std::move(data), layout_.bytes};
  Memory fresh = backend.allocate(layout_.bytes);
  backend.copy(fresh.data.get(), memory_.data.get(), layout_.bytes, CopyKind::kToDevice);
  slot = fresh.data;
  return fresh;
}

void ParameterStore::check_matches(const GraphDescription& graph) const {
  bool same = graph.parameters.size() == descriptions_.size();
  for (size_t i = 0; same && i < descriptions_.size(); ++i) {
    same = graph.parameters[i].name == descriptions_[i].name &&
           graph.parameters[i].shape == descriptions_[i].shape &&
           graph.parameters[i].is_bytes == descriptions_[i].is_bytes;
  }
  if (!same) fail(ErrorCode::kArgument, "expected a graph with the parameters of its model");
}

}  // namespace tandem
