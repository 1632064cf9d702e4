// Runs one kernel as a plan would, but suspiciously: every operand lies between guards, outputs and
// workspaces start as NaN, scratch does so before every tile or holds what is asked for, and tiles
// run in any order.
//
//   KernelHarness kernel(isa.launchers, Op::add);
//   kernel.input({2, 3}, a).input({3}, b).output({2, 3}).run();
//   CHECK(kernel.clean());
//   const std::vector<float> sum = kernel.floats(0);
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <type_traits>
#include <vector>

#include "core/op_list.h"
#include "core/tensor.h"
#include "cpu/kernel.h"
#include "guarded_pages.h"

namespace tandem::cpu {

/// Memory of exactly `bytes` between guards.
class GuardedMemory {
 public:
  GuardedMemory(size_t bytes, size_t alignment) : pages_(bytes, alignment, next_side()) { spoil(); }

  [[nodiscard]] void* data() const { return pages_.data(); }
  [[nodiscard]] size_t bytes() const { return pages_.bytes(); }
  /// All bits set: NaN as floats, -1 as integers.
  void spoil() { fill(0xff); }
  void fill(int byte) { std::memset(data(), byte, bytes()); }
  [[nodiscard]] bool intact() const { return pages_.intact(); }

 private:
  /// One or the other, so that each kind of operand is guarded at both of its ends.
  static GuardedPages::Side next_side() {
    static uint32_t random = 1;
    random = random * 1664525U + 1013904223U;
    return random >> 31 ? GuardedPages::Side::kStart : GuardedPages::Side::kEnd;
  }

  GuardedPages pages_;
};

enum class TileOrder { kReverse, kForward, kShuffled };

class KernelHarness final : public Emitter {
 public:
  using Dims = std::vector<int64_t>;

  /// `launchers`: the table of one instruction set. Without attributes the op reads zeros.
  KernelHarness(const LaunchFn* launchers, Op op)
      : launch_(launchers[static_cast<int>(op)]), op_(op), attributes_() {}

  template <typename T>
  KernelHarness& attributes(const T& value) {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 256);
    std::memcpy(attributes_, &value, sizeof(T));
    return *this;
  }

  KernelHarness& input(const Dims& dims, const std::vector<float>& values) {
    return add_input(dims, DType::kFloat32, values.data(), values.size());
  }
  KernelHarness& input(const Dims& dims, const std::vector<int32_t>& values) {
    return add_input(dims, DType::kInt32, values.data(), values.size());
  }
  KernelHarness& input(const Dims& dims, const std::vector<uint8_t>& values) {
    return add_input(dims, DType::kUInt8, values.data(), values.size());
  }
  /// An input that the op writes, as optimizers do: it is not checked to be unchanged.
  template <typename T>
  KernelHarness& changing_input(const Dims& dims, const std::vector<T>& values) {
    input(dims, values);
    inputs_.back()->may_change = true;
    return *this;
  }
  /// A weight of an inference plan: Emitter::frozen() packs it.
  template <typename T>
  KernelHarness& frozen_input(const Dims& dims, const std::vector<T>& values) {
    input(dims, values);
    inputs_.back()->frozen = true;
    return *this;
  }
  KernelHarness& missing_input() {
    inputs_.push_back(nullptr);
    return *this;
  }
  KernelHarness& output(const Dims& dims, DType dtype = DType::kFloat32) {
    outputs_.push_back(make_operand(dims, dtype));
    return *this;
  }
  /// The next output, in place of input `index`.
  KernelHarness& output_over(size_t index) {
    inputs_[index]->may_change = true;
    auto operand = std::make_unique<Operand>();
    operand->tensor = inputs_[index]->tensor;
    operand->memory = inputs_[index]->memory;
    outputs_.push_back(std::move(operand));
    return *this;
  }
  KernelHarness& order(TileOrder order) {
    order_ = order;
    return *this;
  }
  /// What each byte of scratch is before a tile.
  KernelHarness& scratch_of(int byte) {
    scratch_byte_ = byte;
    return *this;
  }
  StepState& state() { return state_; }

  /// Launches the kernel and runs its steps. A second run repeats the steps on the memory as it is.
  void run() {
    if (!launched_) launch();
    for (const Step& step : steps_) run_tiles(step, operands_);
  }

  /// Nothing outside the operands was written, nor any input that must not be.
  [[nodiscard]] bool clean() const {
    bool ok = true;
    const auto complain = [&](const char* what, size_t index) {
      std::printf("  op %d: %s %zu\n", static_cast<int>(op_), what, index);
      ok = false;
    };
    for (size_t i = 0; i < inputs_.size(); ++i) {
      if (inputs_[i] == nullptr) continue;
      const Operand& operand = *inputs_[i];
      if (!operand.memory->intact()) complain("wrote around input", i);
      if (!operand.may_change && !operand.before.empty() &&
          std::memcmp(operand.memory->data(), operand.before.data(), operand.before.size()) != 0) {
        complain("changed input", i);
      }
    }
    for (size_t i = 0; i < outputs_.size(); ++i) {
      if (!outputs_[i]->memory->intact()) complain("wrote around output", i);
    }
    for (size_t i = 0; i < extra_.size(); ++i) {
      if (!extra_[i]->intact()) complain("wrote around workspace", i);
    }
    if (scratch_ != nullptr && !scratch_->intact()) complain("wrote around scratch", 0);
    return ok;
  }

  [[nodiscard]] std::vector<float> floats(size_t output) const {
    return values<float>(*outputs_[output]);
  }
  [[nodiscard]] std::vector<int32_t> ints(size_t output) const {
    return values<int32_t>(*outputs_[output]);
  }
  [[nodiscard]] std::vector<uint8_t> bytes(size_t output) const {
    return values<uint8_t>(*outputs_[output]);
  }
  [[nodiscard]] std::vector<float> input_floats(size_t input) const {
    return values<float>(*inputs_[input]);
  }

  /// Of what the launcher emitted.
  [[nodiscard]] size_t step_count() const { return steps_.size(); }
  [[nodiscard]] int64_t tile_count(size_t step) const { return steps_[step].tiles; }
  [[nodiscard]] double cost() const {
    double all = 0;
    for (const Step& step : steps_) all += step.cost;
    return all;
  }

  void step(TileFn fn, const void* params, size_t bytes, int64_t tiles, double cost) override {
    steps_.push_back({fn, copy(params, bytes), tiles, cost});
  }
  int workspace(int64_t bytes) override { return add_extra(bytes); }
  void scratch(int64_t bytes) override {
    scratch_bytes_ = std::max(scratch_bytes_, static_cast<size_t>(bytes));
  }
  int frozen(int input, uint64_t, TileFn fn, const void* params, size_t bytes, int64_t tiles,
             int64_t packed_bytes) override {
    const auto index = static_cast<size_t>(input);
    if (inputs_[index] == nullptr || !inputs_[index]->frozen) return -1;
    const int operand = add_extra(packed_bytes);
    Packing& packing = packing_.emplace_back();
    packing.step = {fn, copy(params, bytes), tiles, 0};
    void* const source = inputs_[index]->memory->data();
    const bool is_bytes = inputs_[index]->tensor.dtype == DType::kUInt8;
    packing.operands = {is_bytes ? nullptr : source, extra_.back()->data(),
                        is_bytes ? source : nullptr};
    return operand;
  }

 private:
  struct Operand {
    Tensor tensor{};
    std::shared_ptr<GuardedMemory> memory;
    std::vector<unsigned char> before;
    bool may_change = false;
    bool frozen = false;
  };
  struct Step {
    TileFn fn;
    std::shared_ptr<GuardedMemory> params;
    int64_t tiles;
    double cost;
  };
  struct Packing {
    Step step;
    std::vector<void*> operands;
  };

  static constexpr size_t kAlignment = 64, kParamsAlignment = 16;

  static size_t element_size(DType dtype) { return dtype == DType::kUInt8 ? 1 : 4; }

  static std::unique_ptr<Operand> make_operand(const Dims& dims, DType dtype) {
    auto operand = std::make_unique<Operand>();
    Tensor& t = operand->tensor;
    t.rank = static_cast<int32_t>(dims.size());
    t.dtype = dtype;
    t.numel = 1;
    for (size_t d = 0; d < dims.size(); ++d) t.numel *= t.dims[d] = dims[d];
    // Operands may lie in memory of the caller's, of which no more is known than their type.
    const size_t element = element_size(dtype);
    operand->memory =
        std::make_shared<GuardedMemory>(static_cast<size_t>(t.numel) * element, element);
    return operand;
  }

  KernelHarness& add_input(const Dims& dims, DType dtype, const void* values, size_t count) {
    auto operand = make_operand(dims, dtype);
    if (static_cast<int64_t>(count) != operand->tensor.numel) {
      std::printf("  op %d: input %zu has %zu values for %lld places\n", static_cast<int>(op_),
                  inputs_.size(), count, static_cast<long long>(operand->tensor.numel));
      std::abort();
    }
    if (count != 0) {
      const size_t bytes = count * element_size(dtype);
      std::memcpy(operand->memory->data(), values, bytes);
      operand->before.resize(bytes);
      std::memcpy(operand->before.data(), values, bytes);
    }
    inputs_.push_back(std::move(operand));
    return *this;
  }

  static std::shared_ptr<GuardedMemory> copy(const void* params, size_t bytes) {
    auto memory = std::make_shared<GuardedMemory>(bytes, kParamsAlignment);
    if (bytes != 0) std::memcpy(memory->data(), params, bytes);
    return memory;
  }

  int add_extra(int64_t bytes) {
    extra_.push_back(std::make_unique<GuardedMemory>(static_cast<size_t>(bytes), kAlignment));
    return static_cast<int>(inputs_.size() + outputs_.size() + extra_.size()) - 1;
  }

  void launch() {
    std::vector<const Tensor*> in, out;
    for (const auto& operand : inputs_)
      in.push_back(operand == nullptr ? nullptr : &operand->tensor);
    for (const auto& operand : outputs_) out.push_back(&operand->tensor);
    launch_({op_, attributes_, in.data(), out.data(), static_cast<int32_t>(in.size()),
             static_cast<int32_t>(out.size())},
            *this);
    for (const auto& operand : inputs_)
      operands_.push_back(operand == nullptr ? nullptr : operand->memory->data());
    for (const auto& operand : outputs_) operands_.push_back(operand->memory->data());
    for (const auto& memory : extra_) operands_.push_back(memory->data());
    scratch_ = std::make_unique<GuardedMemory>(scratch_bytes_, kAlignment);
    for (const Packing& packing : packing_) run_tiles(packing.step, packing.operands);
    launched_ = true;
  }

  void run_tiles(const Step& step, const std::vector<void*>& operands) {
    std::vector<int64_t> tiles(static_cast<size_t>(step.tiles));
    for (size_t i = 0; i < tiles.size(); ++i) tiles[i] = static_cast<int64_t>(i);
    if (order_ == TileOrder::kReverse) std::reverse(tiles.begin(), tiles.end());
    if (order_ == TileOrder::kShuffled) {
      uint64_t random = 12345;
      for (size_t i = tiles.size(); i > 1; --i) {
        random = random * 6364136223846793005ULL + 1442695040888963407ULL;
        std::swap(tiles[i - 1], tiles[(random >> 33) % i]);
      }
    }
    const TileContext context = {&state_, scratch_->data()};
    for (const int64_t tile : tiles) {
      scratch_->fill(scratch_byte_);
      step.fn(step.params->data(), operands.data(), tile, context);
    }
  }

  template <typename T>
  static std::vector<T> values(const Operand& operand) {
    std::vector<T> all(static_cast<size_t>(operand.tensor.numel));
    if (!all.empty()) std::memcpy(all.data(), operand.memory->data(), all.size() * sizeof(T));
    return all;
  }

  LaunchFn launch_;
  Op op_;
  alignas(16) unsigned char attributes_[256];
  std::vector<std::unique_ptr<Operand>> inputs_;
  std::vector<std::unique_ptr<Operand>> outputs_;
  std::vector<std::unique_ptr<GuardedMemory>> extra_;
  std::vector<Step> steps_;
  std::vector<Packing> packing_;
  std::vector<void*> operands_;
  std::unique_ptr<GuardedMemory> scratch_;
  size_t scratch_bytes_ = 0;
  StepState state_{1e-3, 1, 0, 0.0F, 1.0F, 0, 0};
  TileOrder order_ = TileOrder::kReverse;
  int scratch_byte_ = 0xff;
  bool launched_ = false;
};

}  // namespace tandem::cpu
