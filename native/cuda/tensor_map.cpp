#include "cuda/tensor_map.h"

#include <cuda_runtime.h>

#include <string>

#include "core/error.h"
#include "cuda/check.h"

namespace tandem::cuda {
namespace {

using Encode = decltype(&cuTensorMapEncodeTiled);

/// The driver's function, found when it is needed so that nothing has to be linked.
Encode find_encode() {
  constexpr unsigned kSince = 12000;
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found{};
  check(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, kSince,
                                         cudaEnableDefault, &found),
        "a question to the driver");
  if (found != cudaDriverEntryPointSuccess || function == nullptr)
    fail(ErrorCode::kDevice, "expected a driver with cuTensorMapEncodeTiled, received none");
  return reinterpret_cast<Encode>(function);
}

}  // namespace

CUtensorMap map_byte_rows(const void* bytes, int64_t rows, int64_t k, int64_t box_rows) {
  static const Encode encode = find_encode();
  constexpr cuuint32_t kRank = 2;
  constexpr cuuint32_t kBoxBytes = 128;
  const cuuint64_t sizes[kRank] = {static_cast<cuuint64_t>(k), static_cast<cuuint64_t>(rows)};
  const cuuint64_t strides[kRank - 1] = {static_cast<cuuint64_t>(k)};
  const cuuint32_t box[kRank] = {kBoxBytes, static_cast<cuuint32_t>(box_rows)};
  const cuuint32_t steps[kRank] = {1, 1};
  CUtensorMap map{};
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-const-cast): the driver only takes the address
  void* const data = const_cast<void*>(bytes);
  const CUresult status =
      encode(&map, CU_TENSOR_MAP_DATA_TYPE_UINT8, kRank, data, sizes, strides, box, steps,
             CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
             CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status != CUDA_SUCCESS) {
    fail(ErrorCode::kDevice, "expected the driver to describe [" + std::to_string(rows) + ", " +
                                 std::to_string(k) + "] bytes, received status " +
                                 std::to_string(static_cast<int>(status)));
  }
  return map;
}

}  // namespace tandem::cuda
