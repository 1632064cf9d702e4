// Finding and opening cuBLASLt.
#pragma once

#include <string>
#include <vector>

#include "cuda/host/cublaslt.h"

namespace tandem::cuda {

/// Where to look, best first, `python_paths` being those of host/library_candidates.h.
std::vector<std::string> lt_candidates(const std::vector<std::string>& python_paths);

struct LtLibrary {
  lt::Functions functions;
  std::string name;  ///< the file or name that was opened
  size_t version;
};

/// Throws ERR_DEVICE with what was tried and how to install it, when none of `candidates` opens or
/// one lacks a function.
LtLibrary open_lt(const std::vector<std::string>& candidates);

}  // namespace tandem::cuda
