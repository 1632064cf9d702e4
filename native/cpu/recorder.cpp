#include "cpu/recorder.h"

#include <algorithm>
#include <cstring>

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
  std::vector<const Tensor*> inputs;
  std::vector<const Tensor*> outputs;
  for (const ValueId id : node_.inputs)
    inputs.push_back(id == kNoValue ? nullptr : &graph_.tensor(id));
  for (const ValueId id : node_.outputs) outputs.push_back(&graph_.tensor(id));
  const NodeView view{
      node_.op,       node_.attributes.bytes.data(),       inputs.data(),
      outputs.data(), static_cast<int32_t>(inputs.size()), static_cast<int32_t>(outputs.size())};
  instruction_set().launchers[static_cast<size_t>(node_.op)](view, *this);
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
