// Windows that slide along an axis, and which of them cover a place: what gradients of pooling ask.
#pragma once

#include <cstdint>

#include "cuda/host/both.h"

namespace tandem::cuda {

/// `count` taps, one place apart, of windows whose first ones lie at -padding, -padding + stride,
/// ...
struct Window {
  int64_t count, stride, padding;
};

/// [begin, end)
struct Places {
  int64_t begin, end;
};

/// What window number `i` covers of an axis of `size`.
TANDEM_BOTH Places covered_by(const Window& w, int64_t i, int64_t size) {
  const int64_t first = i * w.stride - w.padding;
  const int64_t last = first + w.count;
  return {first < 0 ? 0 : first, last > size ? size : last};
}

/// The windows, of `windows` in all, that cover `place`.
TANDEM_BOTH Places covering(const Window& w, int64_t place, int64_t windows) {
  const int64_t at = place + w.padding;
  const int64_t before = at - w.count + 1;  // the first place where a window may begin
  const int64_t begin = before <= 0 ? 0 : (before + w.stride - 1) / w.stride;
  const int64_t end = at / w.stride + 1;
  return {begin, end > windows ? windows : end};
}

}  // namespace tandem::cuda
