// Finding and opening NCCL.
#pragma once

#include <string>
#include <vector>

#include "cuda/host/nccl.h"

namespace tandem::cuda {

/// Where to look, best first, `python_paths` being those of host/library_candidates.h.
std::vector<std::string> nccl_candidates(const std::vector<std::string>& python_paths);

struct NcclLibrary {
  nccl::Functions functions;
  std::string name;  ///< the file or name that was opened
  int version;       ///< 22703 for 2.27.3
};

/// Throws ERR_DEVICE with what was tried and how to install it, when none of `candidates` opens,
/// one is older than 2.14, whose ranks find each other without a time limit, or lacks a function.
NcclLibrary open_nccl(const std::vector<std::string>& candidates);

}  // namespace tandem::cuda
