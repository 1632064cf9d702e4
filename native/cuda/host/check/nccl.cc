// Compares what host/nccl.h declares with NVIDIA's header. Compiled only where a toolkit has it.
#include <nccl.h>

#include "cuda/host/nccl.h"

namespace {

using namespace tandem::cuda;

static_assert(sizeof(ncclUniqueId) == sizeof(nccl::UniqueId));
static_assert(static_cast<uint32_t>(ncclSuccess) == nccl::kSuccess);
static_assert(static_cast<uint32_t>(ncclInProgress) == nccl::kInProgress);
static_assert(static_cast<int32_t>(ncclFloat32) == nccl::kFloat32);
static_assert(static_cast<int32_t>(ncclSum) == nccl::kSum);
static_assert(static_cast<int32_t>(ncclAvg) == nccl::kAverage);
static_assert(sizeof(ncclResult_t) == sizeof(nccl::Result));

}  // namespace
