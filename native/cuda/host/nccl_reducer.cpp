#include "cuda/host/nccl_reducer.h"

#include <string>
#include <thread>
#include <utility>

#include "core/error.h"

namespace tandem::cuda {
namespace {

[[noreturn]] void refuse(const nccl::Functions& f, nccl::Result result, const char* what) {
  fail(ErrorCode::kDevice, std::string("expected NCCL to ") + what + ", received " +
                               f.GetErrorString(result) + " (" + std::to_string(result) + ")");
}

}  // namespace

nccl::UniqueId make_nccl_id(const nccl::Functions& functions) {
  nccl::UniqueId id{};
  const nccl::Result result = functions.GetUniqueId(&id);
  if (result != nccl::kSuccess) refuse(functions, result, "make the number of a group");
  return id;
}

template <typename F>
void NcclReducer::or_abort(const F& f) {
  try {
    f();
  } catch (...) {
    if (communicator_ != nullptr)
      static_cast<void>(functions_.CommAbort(std::exchange(communicator_, nullptr)));
    throw;
  }
}

NcclReducer::NcclReducer(const nccl::Functions& functions, const nccl::UniqueId& id, int rank,
                         int ranks, ReducerStream stream, std::chrono::milliseconds patience)
    : functions_(functions), ranks_(ranks), stream_(std::move(stream)), patience_(patience) {
  if (ranks < 1 || rank < 0 || rank >= ranks) {
    fail(ErrorCode::kArgument,
         "expected a `rank` below " + std::to_string(ranks) + ", received " + std::to_string(rank));
  }
  if (ranks == 1) return;
  constexpr auto kPause = std::chrono::milliseconds(1);  // others may come minutes later
  or_abort([&] {
    constexpr const char* kWhat = "find the other ranks";
    nccl::Config config;
    check(functions_.CommInitRankConfig(&communicator_, ranks, id, rank, &config), kWhat);
    wait(kWhat, kPause, [] { return true; });
  });
}

NcclReducer::~NcclReducer() {
  if (communicator_ != nullptr) static_cast<void>(functions_.CommDestroy(communicator_));
}

void NcclReducer::check(nccl::Result result, const char* what) const {
  if (result != nccl::kSuccess && result != nccl::kInProgress) refuse(functions_, result, what);
}

void NcclReducer::reduce(float* gradients, int64_t count) {
  if (ranks_ == 1 || count == 0) return;
  if (communicator_ == nullptr)
    fail(ErrorCode::kDevice,
         "expected ranks that can be reached, received a group that has failed");
  constexpr auto kPause = std::chrono::microseconds(20);  // of a message's length
  or_abort([&] {
    constexpr const char* kWhat = "reduce gradients";
    check(functions_.AllReduce(gradients, gradients, static_cast<size_t>(count), nccl::kFloat32,
                               nccl::kAverage, communicator_, stream_.stream),
          kWhat);
    wait(kWhat, kPause, stream_.is_done);
  });
}

void NcclReducer::wait(const char* what, std::chrono::microseconds pause,
                       const std::function<bool()>& is_done) const {
  const auto end = std::chrono::steady_clock::now() + patience_;
  for (;;) {
    nccl::Result state = nccl::kSuccess;
    check(functions_.CommGetAsyncError(communicator_, &state), "say how it is");
    check(state, what);
    if (state == nccl::kSuccess && is_done()) return;
    if (std::chrono::steady_clock::now() >= end) {
      fail(ErrorCode::kDevice, std::string("expected NCCL to ") + what +
                                   ", received no answer within " +
                                   std::to_string(patience_.count()) + " ms");
    }
    std::this_thread::sleep_for(pause);
  }
}

}  // namespace tandem::cuda
