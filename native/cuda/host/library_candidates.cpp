#include "cuda/host/library_candidates.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>

namespace tandem::cuda {
namespace {

std::string environment(const char* name) {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): nothing of ours changes the environment
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

/// lib/python3.x/{site,dist}-packages below a prefix, newest first.
void add_site_packages(const std::string& prefix, std::vector<std::string>& paths) {
  std::vector<std::string> found;
  std::error_code error;
  std::filesystem::directory_iterator entries(prefix + "/lib", error);
  for (const std::filesystem::directory_iterator end; !error && entries != end;
       entries.increment(error)) {
    const std::string folder = entries->path().string();
    if (entries->path().filename().string().rfind("python3", 0) != 0) continue;
    found.push_back(folder + "/site-packages");
    found.push_back(folder + "/dist-packages");
  }
  std::sort(found.rbegin(), found.rend());
  paths.insert(paths.end(), found.begin(), found.end());
}

}  // namespace

std::vector<std::string> library_candidates(const std::vector<std::string>& names,
                                            const std::vector<std::string>& python_paths,
                                            const std::vector<std::string>& wheels) {
  std::vector<std::string> folders;
  const std::string toolkit = environment("CUDA_PATH");
  if (!toolkit.empty()) {
    folders.push_back(toolkit + "/lib64/");
    folders.push_back(toolkit + "/lib/");
  }
  folders.emplace_back("/usr/local/cuda/lib64/");
  for (const std::string& path : python_paths) {
    const std::string wheel_folder = path + "/nvidia/";
    for (const std::string& wheel : wheels)
      folders.emplace_back(wheel_folder).append(wheel).append("/lib/");
  }
  std::vector<std::string> candidates = names;
  for (const std::string& folder : folders) {
    for (const std::string& name : names) candidates.push_back(folder + name);
  }
  return candidates;
}

std::vector<std::string> python_paths() {
  std::vector<std::string> paths;
  const std::string listed = environment("PYTHONPATH");
  for (size_t begin = 0; begin < listed.size();) {
    const size_t end = std::min(listed.find(':', begin), listed.size());
    if (end > begin) paths.push_back(listed.substr(begin, end - begin));
    begin = end + 1;
  }
  for (const char* const name : {"VIRTUAL_ENV", "CONDA_PREFIX"}) {
    const std::string prefix = environment(name);
    if (!prefix.empty()) add_site_packages(prefix, paths);
  }
  add_site_packages("/usr/local", paths);
  add_site_packages("/usr", paths);
  return paths;
}

}  // namespace tandem::cuda
