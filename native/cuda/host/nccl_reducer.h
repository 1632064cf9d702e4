// The mean of gradients over GPUs, by NCCL, behind the seam where trainers meet. Knows no CUDA: the
// stream is a pointer, and whoever owns it says when it has passed.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "core/reduce.h"
#include "cuda/host/nccl.h"

namespace tandem::cuda {

/// The device's side of a reducer.
struct ReducerStream {
  nccl::Stream stream = nullptr;
  /// Whether all that the stream was given is done. Throws where the device has failed.
  std::function<bool()> is_done;
};

/// What one rank makes and sends to the others, by whatever way they have. Throws ERR_DEVICE.
nccl::UniqueId make_nccl_id(const nccl::Functions& functions);

/// Every rank gets the same bits: each piece of a sum is computed by one rank and sent to all.
class NcclReducer final : public GradientReducer {
 public:
  /// Waits for the other ranks, without a limit: `patience` is that of reduce() alone. NCCL before
  /// 2.14 has no CommInitRank that returns at once, and one that waits cannot be aborted, since the
  /// communicator is not known yet; whoever starts the ranks ends those whose company never comes.
  /// `functions` has to outlive it. Gradients have to be there for
  /// `stream` when reduce() is called. Throws ERR_ARGUMENT for a rank that is none, ERR_DEVICE.
  NcclReducer(const nccl::Functions& functions, const nccl::UniqueId& id, int rank, int ranks,
              ReducerStream stream, std::chrono::milliseconds patience = kPatience);
  ~NcclReducer() override;

  [[nodiscard]] int ranks() const override { return ranks_; }
  /// Throws ERR_DEVICE when another rank has failed, or has not come within the patience; after
  /// that no rank can be reached any more, and every call throws.
  void reduce(float* gradients, int64_t count) override;

  /// That of PyTorch's process groups on NCCL.
  static constexpr std::chrono::milliseconds kPatience = std::chrono::minutes(10);

 private:
  void wait();
  void check(nccl::Result result, const char* what);
  [[noreturn]] void give_up(const std::string& why);

  const nccl::Functions& functions_;
  int ranks_;
  ReducerStream stream_;
  std::chrono::milliseconds patience_;
  nccl::Communicator communicator_ = nullptr;  ///< none once it was given up
};

}  // namespace tandem::cuda
