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
static_assert(offsetof(ncclConfig_t, size) == offsetof(nccl::Config, size));
static_assert(offsetof(ncclConfig_t, magic) == offsetof(nccl::Config, magic));
static_assert(offsetof(ncclConfig_t, version) == offsetof(nccl::Config, version));
static_assert(offsetof(ncclConfig_t, blocking) == offsetof(nccl::Config, blocking));
constexpr ncclConfig_t kConfig = NCCL_CONFIG_INITIALIZER;
static_assert(kConfig.magic == nccl::Config().magic && kConfig.size >= nccl::Config().size);

}  // namespace
