// What a device gives the core. The CPU is linked in; CUDA is a shared library that returns its
// Backend when a driver is there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/plan.h"
#include "core/step_state.h"

namespace tandem {

/// Zeroed memory of a device, aligned to kAlignment; freed when the last owner lets go. The host
/// may only look into it where Backend::shares_host_memory().
struct Memory {
  std::shared_ptr<std::byte> data;
  int64_t bytes = 0;
};

/// Frozen weights in the layout that kernels want, made once and shared by the plans of a
/// Predictor.
class FrozenWeights {
 public:
  FrozenWeights() = default;
  FrozenWeights(const FrozenWeights&) = delete;
  FrozenWeights& operator=(const FrozenWeights&) = delete;
  virtual ~FrozenWeights() = default;
  /// Of all that has been made so far. Any thread may ask, and waits for none that makes more.
  [[nodiscard]] virtual int64_t bytes() const noexcept = 0;
};

/// The arenas that outlive a plan. Pointers are to the device's memory and may be null when unused.
struct Arenas {
  std::byte* parameters = nullptr;
  std::byte* gradients = nullptr;
  std::byte* optimizer = nullptr;
};

/// How a node's kernels would round its result (core/rounded_factors.h).
struct RoundedResult {
  bool alone = false;   ///< in place of floats, which nothing reads; else beside them
  int64_t padding = 0;  ///< zeros behind each row
};

struct CompileRequest {
  const Plan& plan;
  Arenas arenas;
  int threads = 0;                  ///< 0: as many as the pool has
  FrozenWeights* frozen = nullptr;  ///< not null: parameters never change; kernels may repack them
  bool announces = false;           ///< Executable::announce() will be called
  bool keeps_state = false;         ///< inputs that nodes change are bound by bind_state()
};

/// A plan ready to run on a device. One thread at a time may use it.
class Executable {
 public:
  Executable() = default;
  Executable(const Executable&) = delete;
  Executable& operator=(const Executable&) = delete;
  virtual ~Executable() = default;

  /// Scratch of at least Plan::arena_bytes. Called before the first run and whenever it moves.
  virtual void bind_arena(std::byte* arena) = 0;
  /// Inputs and outputs are memory of the host, whatever the device.
  virtual void bind_input(size_t index, const void* data) = 0;
  virtual void bind_output(size_t index, void* data) = 0;
  /// Memory of the device for an input that nodes change, where the request says so: it is there
  /// that its contents stay from run to run.
  virtual void bind_state(size_t index, std::byte* data) { bind_input(index, data); }
  /// Says what the run behind the next one will be bound to, so that it may be copied to the device
  /// while that one computes. It has to stay as it is until then, or until forget() takes it back.
  virtual void announce(const std::vector<const void*>& /*inputs*/) {}
  virtual void forget() {}
  virtual void run(StepState& state) = 0;
  /// Parameters that some kernel reads in the plain layout (all of them without `frozen`).
  [[nodiscard]] virtual std::vector<bool> plain_parameters() const = 0;
  /// Names of the kernels in order of execution.
  [[nodiscard]] virtual std::vector<std::string> kernels() const = 0;
  /// Memory beyond the arena that this executable alone holds: constants.
  [[nodiscard]] virtual int64_t private_bytes() const = 0;
  /// Memory that its threads lend to any executable while it runs.
  [[nodiscard]] virtual int64_t scratch_bytes() const = 0;
};

/// Which memory Backend::copy() reads and writes.
enum class CopyKind : uint8_t { kToDevice, kToHost, kWithinDevice };

class Backend {
 public:
  Backend() = default;
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;
  virtual ~Backend() = default;

  [[nodiscard]] virtual const char* name() const = 0;
  [[nodiscard]] virtual bool supports(Op op) const = 0;
  /// Whether the device computes in the host's memory, so that nothing needs to be copied.
  [[nodiscard]] virtual bool shares_host_memory() const = 0;
  /// Copies memory; it has arrived on return.
  virtual void copy(std::byte* to, const std::byte* from, int64_t bytes, CopyKind kind) const = 0;
  /// Whether each parameter is best updated as soon as its gradient is there. Otherwise one sweep
  /// over all of them ends the step.
  [[nodiscard]] virtual bool updates_on_the_way() const = 0;
  /// Whether matrix products add residuals (ops/fused_matmul.h), as convolutions do everywhere.
  [[nodiscard]] virtual bool adds_in_products() const { return false; }
  /// Whether products of 16 bits want factors that were rounded before (core/rounded_factors.h),
  /// and of how many numbers their rows are a multiple then; 0 where products round themselves.
  [[nodiscard]] virtual int64_t factor_row() const { return 0; }
  /// Whether the kernels of a node can write its result rounded to 16 bits.
  [[nodiscard]] virtual bool rounds_result(const Graph& /*graph*/, const Node& /*node*/,
                                           const RoundedResult& /*how*/) const {
    return false;
  }
  /// Whether the kernels of a node can read its first input rounded to 16 bits.
  [[nodiscard]] virtual bool reads_rounded(const Graph& /*graph*/, const Node& /*node*/) const {
    return false;
  }
  /// Whether they can read floats of it whose rows have padding behind them.
  [[nodiscard]] virtual bool reads_padded(const Graph& /*graph*/, const Node& /*node*/) const {
    return false;
  }
  /// How many rows at most, 1 or more, predictions of the graph may have for each row to be the
  /// bits that it is alone. The graph has some rows, along axis 0 of every input.
  [[nodiscard]] virtual int64_t alike_rows(const Graph& /*graph*/) const { return 1; }
  /// Throws ERR_OUT_OF_MEMORY with what was asked for.
  [[nodiscard]] virtual Memory allocate(int64_t bytes) const = 0;
  /// Memory of the host that run() best reads inputs from, where a device copies by itself: it may
  /// do so until the run is over. Null where none is better than other memory. Not zeroed.
  [[nodiscard]] virtual std::shared_ptr<std::byte> allocate_staging(int64_t /*bytes*/) const {
    return nullptr;
  }
  /// Temporary memory that the kernels of this node need within the arena. `frozen`: parameters
  /// will be compiled as FrozenWeights.
  [[nodiscard]] virtual int64_t workspace_bytes(const Graph& graph, const Node& node,
                                                bool frozen) const = 0;
  [[nodiscard]] virtual std::unique_ptr<FrozenWeights> make_frozen_weights() const = 0;
  [[nodiscard]] virtual std::unique_ptr<Executable> compile(
      const CompileRequest& request) const = 0;
};

/// The CPU's backend: one for the process. Its memory is the host's memory for every device.
const Backend& cpu_backend();

/// Throws ERR_DEVICE, naming the op, unless the device has kernels for every node of the graph.
void check_supported(const Graph& graph, const Backend& backend);

struct CpuInfo {
  std::string isa;                     ///< the instruction set in use
  std::vector<std::string> available;  ///< those this processor has, best first
  int threads = 1;                     ///< of the pool
};
CpuInfo cpu_info();
/// Extensions of this processor that kernels use beyond the instruction set in use, best first.
std::vector<std::string> cpu_extensions();

/// To be called on a thread that works behind another one of this process, such as the one that
/// runs an event loop. Plans that take less time than waking a thread are not shared with others
/// from here on: their many helpers would take the processor that the other thread needs.
void cpu_work_behind();

}  // namespace tandem
