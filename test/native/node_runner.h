// Runs one node's kernel outside any plan: operands in guarded memory of their exact size, tiles from
// the last to the first. What a kernel writes outside its outputs and workspaces aborts the test.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "cpu/kernel.h"
#include "isas.h"

namespace tandem::cpu {

inline Tensor tensor_of(const std::vector<int64_t>& dims, DType dtype = DType::kFloat32) {
  Tensor t{};
  t.rank = static_cast<int32_t>(dims.size());
  t.numel = 1;
  t.dtype = dtype;
  for (size_t i = 0; i < dims.size(); ++i) {
    t.dims[i] = dims[i];
    t.numel *= dims[i];
  }
  return t;
}

/// `bytes` of memory on a cache line between two guards.
class Guarded {
 public:
  explicit Guarded(int64_t bytes)
      : bytes_(static_cast<size_t>(bytes)),
        all_(std::aligned_alloc(64, (bytes_ + 2 * kGuard + 63) / 64 * 64)) {
    std::memset(all_, 0xA5, bytes_ + 2 * kGuard);
  }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  ~Guarded() { std::free(all_); }

  [[nodiscard]] void* data() const { return static_cast<unsigned char*>(all_) + kGuard; }
  [[nodiscard]] size_t size() const { return bytes_; }
  [[nodiscard]] bool intact() const {
    const auto* p = static_cast<const unsigned char*>(all_);
    for (size_t i = 0; i < kGuard; ++i) {
      if (p[i] != 0xA5 || p[kGuard + bytes_ + i] != 0xA5) return false;
    }
    return true;
  }

 private:
  static constexpr size_t kGuard = 256;
  size_t bytes_;
  void* all_;
};

class NodeRunner final : public Emitter {
 public:
  template <typename Attributes>
  NodeRunner(Op op, const Attributes& attributes)
      : op_(op),
        attributes_(reinterpret_cast<const unsigned char*>(&attributes),
                    reinterpret_cast<const unsigned char*>(&attributes) + sizeof(Attributes)) {}

  template <typename T>
  NodeRunner& input(const std::vector<int64_t>& dims, const std::vector<T>& values) {
    static_assert(sizeof(T) == 4);
    inputs_.push_back(std::make_unique<Tensor>(tensor_of(dims, T(0.5) == T(0) ? DType::kInt32 : DType::kFloat32)));
    memory_.push_back(std::make_shared<Guarded>(static_cast<int64_t>(values.size()) * 4));
    if (!values.empty()) std::memcpy(memory_.back()->data(), values.data(), values.size() * 4);
    return *this;
  }
  NodeRunner& no_input() {
    inputs_.push_back(nullptr);
    memory_.push_back(nullptr);
    return *this;
  }
  /// An output; over the memory of input `over` unless that is -1.
  NodeRunner& output(const std::vector<int64_t>& dims, int over = -1) {
    outputs_.push_back(std::make_unique<Tensor>(tensor_of(dims)));
    memory_.push_back(over < 0 ? std::make_shared<Guarded>(outputs_.back()->numel * 4) : memory_[static_cast<size_t>(over)]);
    return *this;
  }

  /// Launches and runs; `state` may be null.
  void run(const Isa& isa, StepState* state = nullptr, bool reverse = true) {
    launch(isa);
    StepState none{};
    const TileContext context{state != nullptr ? state : &none, nullptr};
    execute(context, reverse);
    for (const auto& m : memory_) {
      if (m != nullptr && !m->intact()) {
        std::fprintf(stderr, "a kernel of op %d (%s) wrote outside its operands\n", static_cast<int>(op_), isa.name);
        std::abort();
      }
    }
  }
  void launch(const Isa& isa) {
    std::vector<const Tensor*> in;
    std::vector<const Tensor*> out;
    for (const auto& t : inputs_) in.push_back(t.get());
    for (const auto& t : outputs_) out.push_back(t.get());
    const NodeView node{op_, attributes_.data(), in.data(), out.data(), static_cast<int32_t>(in.size()),
                        static_cast<int32_t>(out.size())};
    isa.launchers[static_cast<int>(op_)](node, *this);
  }
  void execute(const TileContext& context, bool reverse) {
    std::vector<void*> operands;
    for (const auto& m : memory_) operands.push_back(m == nullptr ? nullptr : m->data());
    for (const Step& s : steps_) {
      for (int64_t i = 0; i < s.tiles; ++i) s.fn(s.params.data(), operands.data(), reverse ? s.tiles - 1 - i : i, context);
    }
  }

  template <typename T = float>
  [[nodiscard]] std::vector<T> result(size_t index = 0) const {
    return values<T>(inputs_.size() + index);
  }
  /// An operand's values: inputs come first.
  template <typename T = float>
  [[nodiscard]] std::vector<T> values(size_t operand) const {
    const Guarded& m = *memory_[operand];
    std::vector<T> v(m.size() / sizeof(T));
    if (!v.empty()) std::memcpy(v.data(), m.data(), v.size() * sizeof(T));
    return v;
  }
  [[nodiscard]] double cost() const {
    double sum = 0;
    for (const Step& s : steps_) sum += s.cost;
    return sum;
  }
  [[nodiscard]] int64_t tiles() const {
    int64_t most = 0;
    for (const Step& s : steps_) most = s.tiles > most ? s.tiles : most;
    return most;
  }

  void step(TileFn fn, const void* params, size_t bytes, int64_t tiles, double cost) override {
    const auto* p = static_cast<const unsigned char*>(params);
    Step s{fn, std::vector<uint64_t>((bytes + 7) / 8), tiles, cost};
    std::memcpy(s.params.data(), p, bytes);
    steps_.push_back(s);
  }
  int workspace(int64_t bytes) override {
    memory_.push_back(std::make_shared<Guarded>(bytes));
    return static_cast<int>(memory_.size()) - 1;
  }
  void scratch(int64_t) override {}
  int frozen(int, uint64_t, TileFn, const void*, size_t, int64_t, int64_t) override { return -1; }

 private:
  struct Step {
    TileFn fn;
    std::vector<uint64_t> params;
    int64_t tiles;
    double cost;
  };
  Op op_;
  std::vector<unsigned char> attributes_;
  std::vector<std::unique_ptr<Tensor>> inputs_, outputs_;
  std::vector<std::shared_ptr<Guarded>> memory_;
  std::vector<Step> steps_;
};

inline int64_t count_of(const std::vector<int64_t>& dims) { return tensor_of(dims).numel; }

inline std::vector<float> random_floats(int64_t n, uint32_t seed, float low = -1.0F, float high = 1.0F) {
  std::mt19937 engine(seed);
  std::vector<float> v(static_cast<size_t>(n));
  for (float& x : v) x = low + (high - low) * static_cast<float>(engine() >> 8) * 0x1p-24F;
  return v;
}

/// |a - b| / |b| by Euclidean norm; not finite when one has a NaN where the other has none.
inline double distance(const std::vector<float>& a, const std::vector<double>& b) {
  if (a.size() != b.size()) return HUGE_VAL;
  double difference = 0;
  double norm = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const auto x = static_cast<double>(a[i]);
    if (x != x && b[i] != b[i]) continue;
    if (x == b[i]) {
      norm += std::isfinite(x) ? x * x : 0;
      continue;
    }
    difference += (x - b[i]) * (x - b[i]);
    norm += b[i] * b[i];
  }
  if (difference == 0) return 0;
  return std::sqrt(difference / (norm > 0 ? norm : 1));
}

}  // namespace tandem::cpu
