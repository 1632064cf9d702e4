#include "cuda/host/nccl_reducer.h"

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

NcclReducer::NcclReducer(const nccl::Functions& functions, const nccl::UniqueId& id, int rank,
                         int ranks, ReducerStream stream, std::chrono::milliseconds patience)
    : functions_(functions), ranks_(ranks), stream_(std::move(stream)), patience_(patience) {
  if (ranks < 1 || rank < 0 || rank >= ranks) {
    fail(ErrorCode::kArgument,
         "expected a `rank` below " + std::to_string(ranks) + ", received " + std::to_string(rank));
  }
  if (ranks > 1) check(functions_.CommInitRank(&communicator_, ranks, id, rank), "find the others");
}

NcclReducer::~NcclReducer() {
  if (communicator_ != nullptr) static_cast<void>(functions_.CommDestroy(communicator_));
}

void NcclReducer::check(nccl::Result result, const char* what) {
  if (result == nccl::kSuccess || result == nccl::kInProgress) return;
  if (communicator_ != nullptr)
    static_cast<void>(functions_.CommAbort(std::exchange(communicator_, nullptr)));
  refuse(functions_, result, what);
}

void NcclReducer::give_up(const std::string& why) {
  static_cast<void>(functions_.CommAbort(std::exchange(communicator_, nullptr)));
  fail(ErrorCode::kDevice, "expected all ranks to reduce their gradients, received " + why);
}

void NcclReducer::reduce(float* gradients, int64_t count) {
  if (ranks_ == 1 || count == 0) return;
  if (communicator_ == nullptr)
    fail(ErrorCode::kDevice,
         "expected ranks that can be reached, received a group that has failed");
  check(functions_.AllReduce(gradients, gradients, static_cast<size_t>(count), nccl::kFloat32,
                             nccl::kAverage, communicator_, stream_.stream),
        "reduce gradients");
  wait();
}

void NcclReducer::wait() {
  constexpr auto kPause = std::chrono::microseconds(20);  // of a message's length
  const auto end = std::chrono::steady_clock::now() + patience_;
  while (!stream_.is_done()) {
    nccl::Result error = nccl::kSuccess;
    check(functions_.CommGetAsyncError(communicator_, &error), "say how it is");
    check(error, "reduce gradients");
    if (std::chrono::steady_clock::now() >= end)
      give_up("no answer within " + std::to_string(patience_.count()) + " ms");
    std::this_thread::sleep_for(kPause);
  }
}

}  // namespace tandem::cuda
