// The contract between a CUDA kernel file and the executable. A kernel file (kernels/*.cu) has
// three parts: what it computes; the kernels; and the launchers
//   void launch_<op>(Launch&)
// in namespace tandem::cuda. A launcher is called several times for a node: to measure, when the
// plan is made and compiled; to freeze what it makes of weights that never change; and while the
// stream records the plan as a CUDA graph. What changes from step to step therefore has to come
// from device memory: the StepState, and the operands. The grid follows from the shapes alone, or
// from the device where no sum crosses blocks, and sums run in a fixed order without atomics, so
// that results are the same bits in every run.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/op_list.h"
#include "core/rounded_factors.h"
#include "core/step_state.h"
#include "core/tensor.h"
#include "cuda/check.h"
#include "cuda/host/frozen_memory.h"
#include "cuda/shared_memory.h"

namespace tandem::cuda {

class ProductRunner;

/// A node as its operands' shapes and attributes describe it.
struct NodeView {
  Op op;
  bool rounds_too;                    ///< the last output is a copy of the result, see Node
  const void* attributes;             ///< the op's Attributes struct
  std::vector<const Tensor*> inputs;  ///< null where an optional input is left out
  std::vector<const Tensor*> outputs;
  std::vector<int32_t> parameters;  ///< by input: the number of the parameter that it is, or -1
};

/// Where a node's operands lie in device memory.
struct Operands {
  std::vector<void*> inputs;
  std::vector<void*> outputs;
  std::byte* workspace = nullptr;  ///< of as many bytes as the node asked for when measured
  StepState* state = nullptr;
};

/// Where a kernel puts a result: as floats, rounded to 16 bits, or both; null for what is not asked
/// for. Stored by device/result.cuh.
struct Result {
  float* y = nullptr;
  uint16_t* rounded = nullptr;
  int32_t padding = 0;  ///< zeros behind each row of `rounded`; rows of `y` have none
  bool bfloat16 = false;
};

class Launch {
 public:
  /// Measures: nothing runs, and all pointers are null. `freezes`: parameters never change.
  Launch(const NodeView& node, ProductRunner& products, bool freezes = false)
      : node_(node), products_(products), freezes_(freezes) {}
  /// Runs on `stream`, which may be recording.
  Launch(const NodeView& node, ProductRunner& products, Operands operands, cudaStream_t stream)
      : node_(node),
        products_(products),
        operands_(std::move(operands)),
        stream_(stream),
        phase_(Phase::kRun) {}
  /// The same, with what `frozen` holds.
  Launch(const NodeView& node, ProductRunner& products, Operands operands, cudaStream_t stream,
         FrozenMemory& frozen, bool freezes)
      : Launch(node, products, std::move(operands), stream) {
    frozen_ = &frozen;
    freezes_ = freezes;
  }
  /// Freezes: only what frozen() is to make runs.
  static Launch freezing(const NodeView& node, ProductRunner& products, Operands operands,
                         cudaStream_t stream, FrozenMemory& frozen, bool freezes) {
    Launch launch(node, products, std::move(operands), stream, frozen, freezes);
    launch.phase_ = Phase::kFreeze;
    return launch;
  }

  [[nodiscard]] Op op() const { return node_.op; }
  template <typename Attributes>
  [[nodiscard]] const Attributes& attributes() const {
    return *static_cast<const Attributes*>(node_.attributes);
  }
  [[nodiscard]] int input_count() const { return static_cast<int>(node_.inputs.size()); }
  /// Those of the op: without a rounded copy of its result.
  [[nodiscard]] int output_count() const {
    return static_cast<int>(node_.outputs.size()) - (node_.rounds_too ? 1 : 0);
  }
  [[nodiscard]] bool has_input(int i) const {
    return i < input_count() && node_.inputs[static_cast<size_t>(i)] != nullptr;
  }
  [[nodiscard]] const Tensor& input(int i) const { return *node_.inputs[static_cast<size_t>(i)]; }
  [[nodiscard]] const Tensor& output(int i = 0) const {
    return *node_.outputs[static_cast<size_t>(i)];
  }

  /// Operands in device memory, aligned to 16 bytes but for parts of the optimizer's arena.
  template <typename T = float>
  [[nodiscard]] T* in(int i) const {
    return has_input(i) && phase_ != Phase::kMeasure
               ? static_cast<T*>(operands_.inputs[static_cast<size_t>(i)])
               : nullptr;
  }
  template <typename T = float>
  [[nodiscard]] T* out(int i = 0) const {
    return phase_ == Phase::kMeasure ? nullptr
                                     : static_cast<T*>(operands_.outputs[static_cast<size_t>(i)]);
  }
  /// The result of an op whose kernels round it where a plan wants that (host/rounded_results.h).
  [[nodiscard]] Result result() const {
    const auto own = static_cast<int>(result_of(node_.op));
    const bool alone = is_half(output(own).dtype);
    Result result;
    if (!alone) result.y = out(own);
    if (!alone && !node_.rounds_too) return result;
    const int rounded = alone ? own : output_count();
    result.rounded = out<uint16_t>(rounded);
    result.padding = output(rounded).padding;
    result.bfloat16 = output(rounded).dtype == DType::kBFloat16;
    return result;
  }
  [[nodiscard]] StepState* state() const { return operands_.state; }

  /// Memory for the length of this node, aligned to 256 bytes: what cuBLASLt asks of its own.
  template <typename T>
  T* workspace(int64_t count) {
    workspace_bytes_ = align(workspace_bytes_);
    std::byte* const at = measuring() ? nullptr : align(operands_.workspace) + workspace_bytes_;
    workspace_bytes_ += count * static_cast<int64_t>(sizeof(T));
    return reinterpret_cast<T*>(at);
  }
  /// Of all pieces so far, with room for their alignment.
  [[nodiscard]] int64_t workspace_bytes() const {
    return workspace_bytes_ == 0 ? 0 : workspace_bytes_ + kWorkspaceAlignment;
  }

  /// Starts a kernel of `blocks` x `threads`; none when there are no blocks.
  template <typename... Parameters, typename... Arguments>
  void kernel(void (*function)(Parameters...), int64_t blocks, unsigned threads,
              Arguments&&... arguments) {
    kernel_with_shared(function, blocks, threads, 0, std::forward<Arguments>(arguments)...);
  }
  /// The same with `shared` bytes of shared memory, whose size the kernel does not know itself.
  template <typename... Parameters, typename... Arguments>
  void kernel_with_shared(void (*function)(Parameters...), int64_t blocks, unsigned threads,
                          int64_t shared, Arguments&&... arguments) {
    if (measuring() || blocks == 0) return;
    allow_shared(reinterpret_cast<const void*>(function), shared);
    cudaLaunchConfig_t config{};
    config.gridDim = dim3(checked_blocks(blocks));
    config.blockDim = dim3(threads);
    config.dynamicSmemBytes = static_cast<size_t>(shared);
    config.stream = stream_;
    check(cudaLaunchKernelEx(&config, function, std::forward<Arguments>(arguments)...),
          "the start of a kernel");
  }
  void zero(void* data, int64_t bytes) {
    if (!measuring() && bytes > 0)
      check(cudaMemsetAsync(data, 0, static_cast<size_t>(bytes), stream_), "a memset");
  }

  /// Whether input `input` is a parameter that never changes, so that frozen() may be called for
  /// it.
  [[nodiscard]] bool freezes(int input) const {
    return freezes_ && node_.parameters[static_cast<size_t>(input)] >= 0;
  }
  /// `bytes` of memory that are made once of input `input`, a parameter that never changes, and
  /// that all plans of its weights share; `index` tells apart what is made of the same parameter.
  /// `fill(memory)` may start kernels and copy to the device. Null while measuring.
  template <typename Fill>
  std::byte* frozen(int input, int32_t index, int64_t bytes, const Fill& fill) {
    frozen_inputs_.push_back(input);
    if (phase_ == Phase::kMeasure) return nullptr;
    if (frozen_ == nullptr || node_.parameters[static_cast<size_t>(input)] < 0)
      fail(ErrorCode::kArgument, "expected a weight that never changes, received another");
    const FrozenKey key{node_.parameters[static_cast<size_t>(input)], index};
    if (phase_ == Phase::kRun) return frozen_->find(key);
    return frozen_->find_or_make(key, bytes, [&](std::byte* memory) {
      phase_ = Phase::kRun;
      fill(memory);
      phase_ = Phase::kFreeze;
      check(cudaStreamSynchronize(stream_), "the packing of a weight");
    });
  }
  /// Inputs that frozen() was called for: nothing else reads them.
  [[nodiscard]] const std::vector<int>& frozen_inputs() const { return frozen_inputs_; }
  /// Copies memory of the host that stays as it is until the stream has passed.
  void copy_in(void* to, const void* from, int64_t bytes) {
    if (measuring() || bytes == 0) return;
    check(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyHostToDevice, stream_),
          "a copy to a device");
  }

  /// Whether nothing runs.
  [[nodiscard]] bool measuring() const { return phase_ != Phase::kRun; }
  [[nodiscard]] ProductRunner& products() { return products_; }
  [[nodiscard]] cudaStream_t stream() const { return stream_; }

 private:
  enum class Phase : uint8_t { kMeasure, kFreeze, kRun };
  static constexpr int64_t kWorkspaceAlignment = 256;
  static int64_t align(int64_t bytes) {
    return (bytes + kWorkspaceAlignment - 1) / kWorkspaceAlignment * kWorkspaceAlignment;
  }
  static std::byte* align(std::byte* at) {
    return at + (align(reinterpret_cast<int64_t>(at)) - reinterpret_cast<int64_t>(at));
  }

  const NodeView& node_;
  ProductRunner& products_;
  Operands operands_;
  cudaStream_t stream_ = nullptr;
  FrozenMemory* frozen_ = nullptr;
  std::vector<int> frozen_inputs_;
  int64_t workspace_bytes_ = 0;
  Phase phase_ = Phase::kMeasure;
  bool freezes_ = false;
};

using LaunchFn = void (*)(Launch&);

inline constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace tandem::cuda
