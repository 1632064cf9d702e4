// The contract between a CPU kernel file and the executable. Kernel files (isa/*.cpp) are compiled
// once per instruction set; this header is plain data and pure interfaces, so that no inline
// function compiled for AVX-512 can become the copy that an older processor runs.
//
// A kernel file has three parts: what it computes; the tile function(s); and the launcher
//   void launch_<op>(const NodeView&, Emitter&)
// in namespace tandem::cpu::TANDEM_ISA_NS, which cuts the work into tiles by the shapes alone,
// never by the number of threads, and emits steps. A step waits for those before it whose memory it
// touches.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/op_id.h"
#include "core/step_state.h"
#include "core/tensor.h"

namespace tandem::cpu {

struct TileContext {
  StepState* state;
  void* scratch;  ///< of this thread: as many bytes as Emitter::scratch asked for, 64-byte aligned
};

/// Computes one tile. `operands`: the node's inputs (null where left out), then its outputs, then
/// workspaces in the order in which they were asked for.
using TileFn = void (*)(const void* params, void* const* operands, int64_t tile,
                        const TileContext& context);

struct NodeView {
  Op op;
  const void* attributes;       ///< the op's Attributes struct
  const Tensor* const* inputs;  ///< null where an optional input is left out
  const Tensor* const* outputs;
  int32_t input_count;
  int32_t output_count;
};

class Emitter {
 public:
  /// Emits a step: `tiles` calls of `fn`, in any order and on any thread. `params` are copied.
  /// `cost` is the estimated time of the whole step on one core in nanoseconds: one thread
  /// runs small steps.
  virtual void step(TileFn fn, const void* params, size_t bytes, int64_t tiles, double cost) = 0;
  /// Memory in the arena for the length of this node; returns its operand index.
  virtual int workspace(int64_t bytes) = 0;
  /// Asks for scratch memory per thread.
  virtual void scratch(int64_t bytes) = 0;
  /// If input `input` is a frozen weight, returns the operand index of its repacked form, which
  /// `fn` fills once (operands: the input's floats, the packed memory, or the input's bytes); or
  /// -1. Run when compiling. The layout must depend on the weight's own shape and `layout` alone.
  virtual int frozen(int input, uint64_t layout, TileFn fn, const void* params, size_t bytes,
                     int64_t tiles, int64_t packed_bytes) = 0;

 protected:
  ~Emitter() = default;
};

using LaunchFn = void (*)(const NodeView& node, Emitter& emitter);

}  // namespace tandem::cpu
