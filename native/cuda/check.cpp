#include "cuda/check.h"

#include <climits>
#include <string>

#include "core/error.h"

namespace tandem::cuda {

void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  // a failed launch leaves its error behind, and the next call would be blamed for it
  static_cast<void>(cudaGetLastError());
  const ErrorCode code =
      status == cudaErrorMemoryAllocation ? ErrorCode::kOutOfMemory : ErrorCode::kDevice;
  fail(code, std::string("expected ") + what + " to succeed, received " + cudaGetErrorName(status) +
                 ": " + cudaGetErrorString(status));
}

unsigned checked_blocks(int64_t blocks) {
  if (blocks > INT_MAX) {
    fail(ErrorCode::kShape,
         "expected a tensor of fewer elements on a GPU, received one that takes " +
             std::to_string(blocks) + " blocks of threads");
  }
  return static_cast<unsigned>(blocks);
}

void use_device(int device) { check(cudaSetDevice(device), "the choice of a device"); }

}  // namespace tandem::cuda
