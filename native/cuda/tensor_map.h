// What tells the copy engine of compute capability 9.0 about a matrix in device memory.
#pragma once

#include <cuda.h>

#include <cstdint>

namespace tandem::cuda {

/// Rows of `k` bytes, a multiple of 16 from an address that is one, copied as boxes of `box_rows`
/// (at most 256) rows of 128 bytes that are swizzled as device/wgmma.cuh says; zeros lie outside.
/// Throws ERR_DEVICE where the driver refuses.
CUtensorMap map_byte_rows(const void* bytes, int64_t rows, int64_t k, int64_t box_rows);

}  // namespace tandem::cuda
