#include "cuda/host/lt_library.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "core/error.h"
#include "cuda/host/dynamic_library.h"

namespace tandem::cuda {
namespace {

#ifdef _WIN32
constexpr const char* kNames[] = {"cublasLt64_13.dll", "cublasLt64_12.dll"};
#else
constexpr const char* kNames[] = {"libcublasLt.so.13", "libcublasLt.so.12"};
#endif

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

std::vector<std::string> lt_candidates(const std::vector<std::string>& python_paths) {
  std::vector<std::string> folders;
  const std::string toolkit = environment("CUDA_PATH");
  if (!toolkit.empty()) {
    folders.push_back(toolkit + "/lib64/");
    folders.push_back(toolkit + "/lib/");
  }
  folders.emplace_back("/usr/local/cuda/lib64/");
  for (const std::string& path : python_paths) {
    folders.push_back(path + "/nvidia/cu13/lib/");
    folders.push_back(path + "/nvidia/cublas/lib/");
  }
  std::vector<std::string> candidates(std::begin(kNames), std::end(kNames));
  for (const std::string& folder : folders) {
    for (const char* const name : kNames) candidates.push_back(folder + name);
  }
  return candidates;
}

LtLibrary open_lt(const std::vector<std::string>& candidates) {
  const DynamicLibrary library(candidates);
  if (!library.is_open()) {
    fail(ErrorCode::kDevice,
         "expected cuBLASLt 12 or 13 in the loader's path, below CUDA_PATH, /usr/local/cuda or "
         "among Python's packages, received none" +
             (library.why().empty() ? std::string() : " that opens (" + library.why() + ")") +
             "; install the CUDA toolkit's libcublas or `pip install nvidia-cublas`");
  }
  LtLibrary lt{{}, library.name(), 0};
  const auto load = [&](auto*& slot, const std::string& name) {
    if (library.load(slot, ("cublasLt" + name).c_str())) return;
    fail(ErrorCode::kDevice,
         "expected cublasLt" + name + " in " + library.name() + ", received a library without it");
  };
  lt::Functions& f = lt.functions;
  load(f.Create, "Create");
  load(f.Destroy, "Destroy");
  load(f.GetVersion, "GetVersion");
  load(f.MatmulDescCreate, "MatmulDescCreate");
  load(f.MatmulDescDestroy, "MatmulDescDestroy");
  load(f.MatmulDescSetAttribute, "MatmulDescSetAttribute");
  load(f.MatrixLayoutCreate, "MatrixLayoutCreate");
  load(f.MatrixLayoutDestroy, "MatrixLayoutDestroy");
  load(f.MatrixLayoutSetAttribute, "MatrixLayoutSetAttribute");
  load(f.MatmulPreferenceCreate, "MatmulPreferenceCreate");
  load(f.MatmulPreferenceDestroy, "MatmulPreferenceDestroy");
  load(f.MatmulPreferenceSetAttribute, "MatmulPreferenceSetAttribute");
  load(f.MatmulAlgoGetHeuristic, "MatmulAlgoGetHeuristic");
  load(f.Matmul, "Matmul");
  lt.version = f.GetVersion();
  return lt;
}

}  // namespace tandem::cuda
