// The mean of gradients over GPUs, by NCCL, behind the seam where trainers meet. Knows no CUDA: the
// stream is a pointer, and whoever owns it says when it has passed.
#pragma once

#include <chrono>
#include <functional>

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
  /// Waits for the other ranks as long as the `patience` lasts, as reduce() does. `functions` has
  /// to outlive it. Gradients have to be there for `stream` when reduce() is called. Throws
  /// ERR_ARGUMENT for a rank that is none, ERR_DEVICE.
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
  /// f(), after whose failure there is no communicator.
  template <typename F>
  void or_abort(const F& f);
  /// Waits until NCCL has done `what` it was told, and until `is_done()`. Its calls return before
  /// that, and the stream knows of their work only once it has.
  void wait(const char* what, std::chrono::microseconds pause,
            const std::function<bool()>& is_done) const;
  void check(nccl::Result result, const char* what) const;

  const nccl::Functions& functions_;
  int ranks_;
  ReducerStream stream_;
  std::chrono::milliseconds patience_;
  nccl::Communicator communicator_ = nullptr;  ///< none once it was given up
};

}  // namespace tandem::cuda
