// Where NVIDIA's libraries may lie.
#pragma once

#include <string>
#include <vector>

namespace tandem::cuda {

/// Where to look for a library that has one of `names`, best first: the loader's own path,
/// CUDA_PATH, /usr/local/cuda, and below each of `python_paths` the `wheels`, folders into which
/// pip puts it.
std::vector<std::string> library_candidates(const std::vector<std::string>& names,
                                            const std::vector<std::string>& python_paths,
                                            const std::vector<std::string>& wheels);

/// The site-packages folders of the interpreters that the environment names (VIRTUAL_ENV,
/// CONDA_PREFIX, PYTHONPATH) and of the system's.
std::vector<std::string> python_paths();

}  // namespace tandem::cuda
