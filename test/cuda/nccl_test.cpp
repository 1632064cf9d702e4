// That a real NCCL takes what host/nccl.h declares: a communicator of one rank, whose mean is what
// it was given. Where there is none, nothing is tested, and the test says so.
#include <chrono>

#include "cuda/host/library_candidates.h"
#include "cuda/host/nccl_library.h"
#include "parity.h"

using namespace tandem;
using namespace tandem::check;

namespace {

/// Waits until a communicator, whose calls return before that, has done what it was told.
void wait(const cuda::nccl::Functions& nccl, cuda::nccl::Communicator communicator) {
  cuda::nccl::Result state = cuda::nccl::kInProgress;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (state == cuda::nccl::kInProgress && std::chrono::steady_clock::now() < end)
    CHECK(nccl.CommGetAsyncError(communicator, &state) == cuda::nccl::kSuccess);
  CHECK(state == cuda::nccl::kSuccess);
}

/// The mean over a communicator of one rank, by the default stream.
void reduce_alone(const cuda::nccl::Functions& nccl, float* gradients, size_t count) {
  const auto goes_on = [](cuda::nccl::Result result) {
    return result == cuda::nccl::kSuccess || result == cuda::nccl::kInProgress;
  };
  cuda::nccl::UniqueId id{};
  CHECK(nccl.GetUniqueId(&id) == cuda::nccl::kSuccess);
  cuda::nccl::Communicator communicator = nullptr;
  cuda::nccl::Config config;
  CHECK(goes_on(nccl.CommInitRankConfig(&communicator, 1, id, 0, &config)));
  wait(nccl, communicator);
  CHECK(goes_on(nccl.AllReduce(gradients, gradients, count, cuda::nccl::kFloat32,
                               cuda::nccl::kAverage, communicator, nullptr)));
  wait(nccl, communicator);
  CHECK(nccl.CommDestroy(communicator) == cuda::nccl::kSuccess);
}

}  // namespace

TEST(gpu_nccl_takes_what_is_declared) {
  try {
    const cuda::NcclLibrary nccl = cuda::open_nccl(cuda::nccl_candidates(cuda::python_paths()));
    CHECK(nccl.version >= 21400);
    const std::vector<float> numbers = {1, -2, 3.5F, 0};
    constexpr int64_t kBytes = 4 * sizeof(float);
    const Memory memory = gpu().allocate(kBytes);
    gpu().copy(memory.data.get(), reinterpret_cast<const std::byte*>(numbers.data()), kBytes,
               CopyKind::kToDevice);
    reduce_alone(nccl.functions, reinterpret_cast<float*>(memory.data.get()), numbers.size());
    std::vector<float> got(4);
    gpu().copy(reinterpret_cast<std::byte*>(got.data()), memory.data.get(), kBytes,
               CopyKind::kToHost);
    CHECK(got == numbers);
  } catch (const Error& error) {
    CHECK(std::string(error.what()).find("expected NCCL") != std::string::npos);
    std::printf("  not tested: %s\n", error.what());
  }
}
