// Products of bytes: how the kernels cut them, and which way is the fastest for a shape, measured
// when it is first asked for. Knows no CUDA: whoever owns it gives a function that measures.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <vector>

namespace tandem::cuda {

/// Ways to compute a product of bytes: kernels that give a block so many rows and columns, some of
/// them by groups of warps as only compute capability 9.0 has them, or cuBLASLt with a pass of its
/// own for what follows the sums.
enum class ByteWay : uint8_t {
  kTile16x64,
  kTile64x64,
  kTile128x128,
  kWarpgroups128x128,
  kWarpgroups128x256,
  kLibrary
};

/// What a way may depend on: sums [m, n] over k bytes, k a multiple of kByteUnit.
struct ByteShape {
  int64_t m = 0, n = 0, k = 0;
  bool rows = true;  ///< x is a matrix in memory; otherwise gathered from images
  bool to_bytes = false;
  // NOLINTNEXTLINE(modernize-use-nullptr): the check takes the comparison's own zero for a pointer
  auto operator<=>(const ByteShape&) const = default;
};

/// Bytes that are copied at a time: rows of operands begin at multiples of it.
inline constexpr int64_t kByteUnit = 16;
inline constexpr int64_t kByteDepth = 64;  ///< summands of a stage
inline constexpr int64_t kByteStages = 4;  ///< in shared memory at a time
/// Bytes between rows of a stage: eight rows of 16 bytes then meet all banks.
inline constexpr int64_t kByteAlong = kByteDepth + kByteUnit;

/// Bytes of shared memory of a kernel's block.
constexpr int64_t byte_shared(int64_t rows, int64_t columns) {
  return kByteStages * (rows + columns) * kByteAlong;
}

/// The same of kernels that multiply by groups of warps: rows of a stage have 128 bytes, sums leave
/// through memory of their own, and stages begin at multiples of 1024.
inline constexpr int64_t kWarpgroupRows = 128;
inline constexpr int64_t kWarpgroupDepth = 128;
inline constexpr int64_t kWarpgroupStages = 4;
inline constexpr int64_t kWarpgroupStaged = int64_t{32} * 1024;
inline constexpr int64_t kStageAlignment = 1024;
constexpr int64_t warpgroup_shared(int64_t columns) {
  return kWarpgroupStages * (kWarpgroupRows + columns) * kWarpgroupDepth + kWarpgroupStaged +
         kStageAlignment;
}

/// What the ways ask of a device.
struct ByteDevice {
  int64_t shared = 0;       ///< bytes of shared memory that a block may ask for
  bool warpgroups = false;  ///< it and its kernels multiply by groups of warps
};

/// Milliseconds that a way takes, or a negative number where it fails.
using MeasureBytes = std::function<double(const ByteShape&, ByteWay)>;

class ByteChoices {
 public:
  ByteChoices(ByteDevice device, MeasureBytes measure)
      : device_(device), measure_(std::move(measure)) {}

  /// The fastest way; the first of ways() where none could be measured. Any thread may ask.
  ByteWay choose(const ByteShape& shape);
  /// Those that can compute it, the one that is most likely the fastest first.
  [[nodiscard]] std::vector<ByteWay> ways(const ByteShape& shape) const;
  /// Products measured so far.
  [[nodiscard]] size_t size() const;

 private:
  ByteDevice device_;
  MeasureBytes measure_;
  mutable std::mutex mutex_;
  std::map<ByteShape, ByteWay> choices_;
};

}  // namespace tandem::cuda
