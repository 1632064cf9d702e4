// What a stream records as a CUDA graph. Its work does not come one piece after the other: each
// waits for what it is told to wait for, so that pieces that have nothing to do with each other may
// run at the same time.
#pragma once

#include <vector>

#include "cuda/handles.h"

namespace tandem::cuda {

class Recording {
 public:
  /// Nodes of the graph that what comes next has to wait for.
  using Ends = std::vector<cudaGraphNode_t>;

  /// Begins. Threads of other plans may use the device meanwhile.
  explicit Recording(cudaStream_t stream);
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;
  /// Drops what was recorded if finish() has not been called.
  ~Recording();

  /// What is put on the stream from now on waits for `nodes`, and each piece for the one before it.
  void follow(const Ends& nodes);
  /// What has to be waited for to wait for all since follow().
  [[nodiscard]] Ends ends() const;
  /// Ends, and makes the graph ready to run.
  GraphExec finish();

 private:
  cudaStream_t stream_;
  bool open_ = true;
};

}  // namespace tandem::cuda
