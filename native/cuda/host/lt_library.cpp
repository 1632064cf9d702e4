#include "cuda/host/lt_library.h"

#include "core/error.h"
#include "cuda/host/dynamic_library.h"
#include "cuda/host/library_candidates.h"

namespace tandem::cuda {
namespace {

#ifdef _WIN32
constexpr const char* kNames[] = {"cublasLt64_13.dll", "cublasLt64_12.dll"};
#else
constexpr const char* kNames[] = {"libcublasLt.so.13", "libcublasLt.so.12"};
#endif

}  // namespace

std::vector<std::string> lt_candidates(const std::vector<std::string>& python_paths) {
  return library_candidates({std::begin(kNames), std::end(kNames)}, python_paths,
                            {"cu13", "cublas"});
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
