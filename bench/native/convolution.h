// One convolution of the table, and who computes it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "measure.h"

namespace tandem::bench {

enum class Direction : uint8_t { kForward, kDataGradient, kWeightGradient };

/// Square planes of x [batch, in, size, size] and a square kernel, with padding of half of it.
struct Convolution {
  int64_t batch, in, out, size, kernel, stride = 1, groups = 1;
  bool quick = false;

  [[nodiscard]] int64_t padding() const { return kernel / 2; }
  [[nodiscard]] int64_t out_size() const { return (size + 2 * padding() - kernel) / stride + 1; }
  [[nodiscard]] double operations() const {
    const auto real = [](int64_t n) { return static_cast<double>(n); };
    return 2.0 * real(batch) * real(out) * real(in / groups) * real(kernel * kernel) *
           real(out_size() * out_size());
  }
  /// "64x32x14x14 to 64, 3x3 /2 g32"
  [[nodiscard]] std::string name() const;
};

/// oneDNN's, in the layouts that it likes best; nothing when the library is not there.
std::optional<Side> onednn_convolution(const Convolution& convolution, Direction direction,
                                       int threads);

}  // namespace tandem::bench
