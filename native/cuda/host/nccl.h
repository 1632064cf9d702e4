// What this library uses of NCCL, declared by hand: it is opened at run time, so neither its header
// nor the library are needed to build. One set of values holds for 2.14 (ncclConfig_t) and later.
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

/// ncclConfig_t as it began, in 2.14, and what it says of a communicator whose calls return before
/// they have ended. It has grown since: a library reads `size` bytes of it, and what came after
/// `version` counts as left open, whatever lies there.
struct Config {
  size_t size = sizeof(Config);
  uint32_t magic = 0xcafebeef;
  uint32_t version = 21400;
  int32_t blocking = 0;
};
static_assert(sizeof(Config) == 24 && offsetof(Config, blocking) == 16);

using Communicator = void*;  ///< ncclComm_t
using Stream = void*;        ///< cudaStream_t
static_assert(sizeof(Communicator) == 8);

/// The library's functions, without `nccl` in front of their names.
struct Functions {
  Result (*GetVersion)(int* version);
  Result (*GetUniqueId)(UniqueId* id);
  Result (*CommInitRankConfig)(Communicator* communicator, int ranks, UniqueId id, int rank,
                               Config* config);
  Result (*CommDestroy)(Communicator communicator);
  Result (*CommAbort)(Communicator communicator);
  Result (*CommGetAsyncError)(Communicator communicator, Result* error);
  Result (*AllReduce)(const void* send, void* receive, size_t count, DataType type,
                      Reduction reduction, Communicator communicator, Stream stream);
  const char* (*GetErrorString)(Result result);
};

}  // namespace tandem::cuda::nccl
