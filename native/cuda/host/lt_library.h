// Finding and opening cuBLASLt.
#pragma once

#include <string>
#include <vector>

#include "cuda/host/cublaslt.h"

namespace tandem::cuda {

/// Where to look, best first: the loader's own path, CUDA_PATH, /usr/local/cuda, and the folders
/// into which pip puts NVIDIA's wheels, below each of `python_paths`.
std::vector<std::string> lt_candidates(const std::vector<std::string>& python_paths);

/// The site-packages folders of the interpreters that the environment names (VIRTUAL_ENV,
/// CONDA_PREFIX, PYTHONPATH) and of the system's.
std::vector<std::string> python_paths();

struct LtLibrary {
  lt::Functions functions;
  std::string name;  ///< the file or name that was opened
  size_t version;
};

/// Throws ERR_DEVICE with what was tried and how to install it, when none of `candidates` opens or
/// one lacks a function.
LtLibrary open_lt(const std::vector<std::string>& candidates);

}  // namespace tandem::cuda
