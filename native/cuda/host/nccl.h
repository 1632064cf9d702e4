// What this library uses of NCCL, declared by hand: it is opened at run time, so neither its header
// nor the library are needed to build. One set of values holds for 2.10 (ncclAvg) and later.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tandem::cuda::nccl {

using Result = uint32_t;
inline constexpr Result kSuccess = 0;
inline constexpr Result kInProgress = 7;

/// ncclDataType_t
enum DataType : int32_t { kFloat32 = 7 };
/// ncclRedOp_t
enum Reduction : int32_t { kSum = 0, kAverage = 4 };

/// ncclUniqueId, which functions take by value.
struct UniqueId {
  char bytes[128];
};
static_assert(sizeof(UniqueId) == 128 && alignof(UniqueId) == 1);

using Communicator = void*;  ///< ncclComm_t
using Stream = void*;        ///< cudaStream_t
static_assert(sizeof(Communicator) == 8);

/// The library's functions, without `nccl` in front of their names.
struct Functions {
  Result (*GetVersion)(int* version);
  Result (*GetUniqueId)(UniqueId* id);
  Result (*CommInitRank)(Communicator* communicator, int ranks, UniqueId id, int rank);
  Result (*CommDestroy)(Communicator communicator);
  Result (*CommAbort)(Communicator communicator);
  Result (*CommGetAsyncError)(Communicator communicator, Result* error);
  Result (*AllReduce)(const void* send, void* receive, size_t count, DataType type,
                      Reduction reduction, Communicator communicator, Stream stream);
  const char* (*GetErrorString)(Result result);
};

}  // namespace tandem::cuda::nccl
