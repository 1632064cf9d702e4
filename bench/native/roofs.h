// The limits of the machine as sides that are measured beside ours, in the same rounds.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "isa/roof_kernels.h"
#include "measure.h"

namespace tandem::bench {

/// Operations per second of `threads` threads that multiply and add in registers, in the way that
/// is fastest for "f32", "bf16" or "s8"; nothing where there is no special instruction for it.
std::optional<Side> peak(const std::string& type, int threads);

/// Bytes per second of `threads` threads that do nothing but this traffic, each over its part of
/// `bytes` bytes: a side for each way to go about it, of which the fastest is the roof.
std::vector<Side> bandwidth(const Traffic& traffic, int64_t bytes, int threads);

/// The sides with those of bandwidth() behind them; where streams are updated in place, also with
/// those of one stream as large as all of them, whose rate can be higher.
std::vector<Side> under_roof(std::vector<Side> sides, const Traffic& traffic, int64_t bytes,
                             int threads);

/// Working sets that stay in a part of memory: half of what a core has for itself, because other
/// things live there, too, a quarter of what cores share, twice all of that for memory.
struct CacheSizes {
  int64_t l1, l2, l3, memory;
};
CacheSizes working_sets();

}  // namespace tandem::bench
