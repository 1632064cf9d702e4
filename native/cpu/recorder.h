// Receives what a launcher emits for one node.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "core/graph.h"
#include "cpu/frozen.h"
#include "cpu/kernel.h"

namespace tandem::cpu {

struct RecordedStep {
  TileFn fn;
  std::unique_ptr<std::byte[]> params;  ///< 16-byte aligned by operator new
  int64_t tiles;
  double cost;  ///< nanoseconds on one core
};

/// An operand behind inputs and outputs: a piece of the node's workspace, repacked weights, or what
/// a value is that kernels see as floats.
struct ExtraOperand {
  int64_t workspace_offset = -1;
  void* frozen = nullptr;
  ValueId value = kNoValue;
};

/// Kernels know no numbers of 16 bits but those of roundFactor. Where a plan has others
/// (core/rounded_factors.h), which those for the CPU do not by themselves, steps around the node
/// make them of floats in its workspace: slow, and the same numbers as of a device that has kernels
/// for them.
class Recorder final : public Emitter {
 public:
  /// `weights` null while measuring; `frozen` says whether parameters will be frozen then.
  Recorder(const Graph& graph, const Node& node, bool frozen, CpuFrozenWeights* weights,
           const std::byte* parameters, const std::vector<int64_t>* parameter_offsets);

  void launch();

  void step(TileFn fn, const void* params, size_t bytes, int64_t tiles, double cost) override;
  int workspace(int64_t bytes) override;
  void scratch(int64_t bytes) override;
  int frozen(int input, uint64_t layout, TileFn fn, const void* params, size_t bytes, int64_t tiles,
             int64_t packed_bytes) override;

  std::vector<RecordedStep> steps;
  std::vector<ExtraOperand> extras;
  int64_t workspace_bytes = 0;
  int64_t scratch_bytes = 0;
  std::vector<bool> repacked;      ///< by input
  std::vector<int64_t> as_floats;  ///< by operand: where in the workspace it is floats; -1: nowhere

 private:
  int add(ExtraOperand extra);
  /// The tensor of operand `operand` as kernels see it, in room for its floats.
  Tensor widen(ValueId id, size_t operand);
  void convert(TileFn fn, ValueId halves, int half_operand, int float_operand);

  const Graph& graph_;
  const Node& node_;
  bool frozen_;
  CpuFrozenWeights* weights_;
  const std::byte* parameters_;
  const std::vector<int64_t>* parameter_offsets_;
};

}  // namespace tandem::cpu
