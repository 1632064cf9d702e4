// Blocks that run at the same time on neighbouring multiprocessors and read each other's shared
// memory: CUDA C++ Programming Guide, "Thread Block Clusters". They need compute capability 9.0;
// nothing calls them below it.
#pragma once

#include "cuda/device/scalar.cuh"

namespace tandem::cuda {

/// This block's number among those of its cluster.
TANDEM_DEVICE int cluster_rank() {
#if __CUDA_ARCH__ >= 900
  return static_cast<int>(__clusterRelativeBlockRank());
#else
  return 0;
#endif
}

/// All threads of all blocks of the cluster: what they wrote before can be read after.
TANDEM_DEVICE void sync_cluster() {
#if __CUDA_ARCH__ >= 900
  __cluster_barrier_arrive();
  __cluster_barrier_wait();
#endif
}

/// All threads of all blocks of the cluster: what they wrote to their own shared memory before can
/// be read after. Nothing is said of the device's memory, for which a barrier takes longer than a
/// small product.
TANDEM_DEVICE void sync_shared_of_cluster() {
#if __CUDA_ARCH__ >= 900
  asm volatile(
      "fence.release.sync_restrict::shared::cta.cluster;"
      "barrier.cluster.arrive.relaxed.aligned;"
      "barrier.cluster.wait.acquire.aligned;" ::
          : "memory");
#endif
}

/// Waits for all threads of the cluster, whose blocks' shared memory is there until then.
TANDEM_DEVICE void leave_cluster() {
#if __CUDA_ARCH__ >= 900
  asm volatile(
      "barrier.cluster.arrive.relaxed;"
      "barrier.cluster.wait;" ::
          : "memory");
#endif
}

/// The same place in the shared memory of block `rank` of the cluster.
TANDEM_DEVICE const float* in_block(const float* shared, int rank) {
#if __CUDA_ARCH__ >= 900
  return static_cast<const float*>(__cluster_map_shared_rank(shared, static_cast<unsigned>(rank)));
#else
  static_cast<void>(rank);
  return shared;
#endif
}

}  // namespace tandem::cuda
