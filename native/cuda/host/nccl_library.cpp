#include "cuda/host/nccl_library.h"

#include "core/error.h"
#include "cuda/host/dynamic_library.h"
#include "cuda/host/library_candidates.h"

namespace tandem::cuda {

std::vector<std::string> nccl_candidates(const std::vector<std::string>& python_paths) {
  return library_candidates({"libnccl.so.2"}, python_paths, {"nccl"});
}

NcclLibrary open_nccl(const std::vector<std::string>& candidates) {
  const DynamicLibrary library(candidates);
  if (!library.is_open()) {
    fail(ErrorCode::kDevice,
         "expected NCCL 2 in the loader's path, below CUDA_PATH, /usr/local/cuda or among Python's "
         "packages, received none" +
             (library.why().empty() ? std::string() : " that opens (" + library.why() + ")") +
             "; install libnccl2 or `pip install nvidia-nccl-cu13`");
  }
  NcclLibrary opened{{}, library.name(), 0};
  const auto load = [&](auto*& slot, const std::string& name) {
    if (library.load(slot, ("nccl" + name).c_str())) return;
    fail(ErrorCode::kDevice,
         "expected nccl" + name + " in " + library.name() + ", received a library without it");
  };
  nccl::Functions& f = opened.functions;
  load(f.GetVersion, "GetVersion");
  constexpr int kOldest = 21400;
  if (f.GetVersion(&opened.version) != nccl::kSuccess || opened.version < kOldest) {
    fail(ErrorCode::kDevice, "expected NCCL 2.14 or later, received version " +
                                 std::to_string(opened.version) + " in " + library.name());
  }
  load(f.GetUniqueId, "GetUniqueId");
  load(f.CommInitRankConfig, "CommInitRankConfig");
  load(f.CommDestroy, "CommDestroy");
  load(f.CommAbort, "CommAbort");
  load(f.CommGetAsyncError, "CommGetAsyncError");
  load(f.AllReduce, "AllReduce");
  load(f.GetErrorString, "GetErrorString");
  return opened;
}

}  // namespace tandem::cuda
