#include "cpu/recorder.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/rounded_factors.h"
#include "cpu/half_rows.h"
#include "cpu/isa_select.h"

namespace tandem::cpu {

Recorder::Recorder(const Graph& graph, const Node& node, bool frozen, CpuFrozenWeights* weights,
                   const std::byte* parameters, const std::vector<int64_t>* parameter_offsets)
    : repacked(node.inputs.size(), false),
      graph_(graph),
      node_(node),
      frozen_(frozen),
      weights_(weights),
      parameters_(parameters),
      parameter_offsets_(parameter_offsets) {}

void Recorder::launch() {
  std::vector<ValueId> ids = node_.inputs;
  ids.insert(ids.end(), node_.outputs.begin(), node_.outputs.end());
  const size_t input_count = node_.inputs.size();
  as_floats.assign(ids.size(), -1);
  std::vector<Tensor> tensors(ids.size());
  std::vector<const Tensor*> seen(ids.size(), nullptr);
  std::vector<std::pair<size_t, int>> results;  // of 16 bits: the output, and where it goes
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] == kNoValue) continue;
    tensors[i] = graph_.tensor(ids[i]);
    seen[i] = &tensors[i];
    const bool is_copy = node_.rounds_too && i + 1 == ids.size();
    if (!is_half(tensors[i].dtype) || is_copy || node_.op == Op::roundFactor) continue;
    tensors[i] = widen(ids[i], i);
    const int halves = add({-1, nullptr, ids[i]});
    if (i < input_count) {
      convert(&widen_rows, ids[i], halves, static_cast<int>(i));
    } else {
      results.emplace_back(i, halves);
    }
  }
  const size_t outputs = node_.outputs.size() - (node_.rounds_too ? 1 : 0);
  const NodeView view{node_.op,
                      node_.attributes.bytes.data(),
                      seen.data(),
                      seen.data() + input_count,
                      static_cast<int32_t>(input_count),
                      static_cast<int32_t>(outputs)};
  instruction_set().launchers[static_cast<size_t>(node_.op)](view, *this);
  for (const auto& [result, halves] : results)
    convert(&narrow_rows, ids[result], halves, static_cast<int>(result));
  if (node_.rounds_too) {
    const auto copy = static_cast<int>(ids.size()) - 1;
    convert(&narrow_rows, ids.back(), copy, static_cast<int>(input_count + result_of(node_.op)));
  }
}

Tensor Recorder::widen(ValueId id, size_t operand) {
  Tensor tensor = graph_.tensor(id);
  tensor.dtype = DType::kFloat32;
  tensor.padding = 0;
  as_floats[operand] = workspace_bytes;
  workspace_bytes += align_up(std::max<int64_t>(byte_size(tensor), 1));
  return tensor;
}

void Recorder::convert(TileFn fn, ValueId halves, int half_operand, int float_operand) {
  const HalfRows rows = half_rows(graph_.tensor(halves), half_operand, float_operand);
  constexpr double kCostEach = 1;
  step(fn, &rows, sizeof rows, rows.rows,
       kCostEach * static_cast<double>(graph_.tensor(halves).numel));
}

void Recorder::step(TileFn fn, const void* params, size_t bytes, int64_t tiles, double cost) {
  if (tiles <= 0) return;
  auto copy = std::make_unique<std::byte[]>(std::max<size_t>(bytes, 1));
  if (bytes > 0) std::memcpy(copy.get(), params, bytes);
  steps.push_back({fn, std::move(copy), tiles, cost});
}

int Recorder::workspace(int64_t bytes) {
  ExtraOperand extra;
  extra.workspace_offset = workspace_bytes;
  workspace_bytes += align_up(std::max<int64_t>(bytes, 1));
  return add(extra);
}

void Recorder::scratch(int64_t bytes) { scratch_bytes = std::max(scratch_bytes, bytes); }

int Recorder::frozen(int input, uint64_t layout, TileFn fn, const void* params, size_t bytes,
                     int64_t tiles, int64_t packed_bytes) {
  const Value& value = graph_.value(node_.inputs[static_cast<size_t>(input)]);
  if (!frozen_ || value.kind != ValueKind::kParameter) return -1;
  repacked[static_cast<size_t>(input)] = true;
  ExtraOperand extra;
  if (weights_ != nullptr) {
    const int64_t offset = (*parameter_offsets_)[static_cast<size_t>(value.index)];
    const void* plain = offset < 0 ? nullptr : parameters_ + offset;
    extra.frozen = weights_->find_or_pack(value.index, layout, plain, value.tensor.dtype, fn,
                                          params, bytes, tiles, packed_bytes);
  }
  return add(extra);
}

int Recorder::add(ExtraOperand extra) {
  extras.push_back(extra);
  return static_cast<int>(node_.inputs.size() + node_.outputs.size() + extras.size()) - 1;
}

}  // namespace tandem::cpu
