// A stand-in for libnccl.so.2 of version FAKE_VERSION, with nobody to talk to.
#include <cstring>

#include "cuda/host/nccl.h"

using namespace tandem::cuda::nccl;

#define FAKE extern "C" __attribute__((visibility("default")))

FAKE Result ncclGetVersion(int* version) {
  *version = FAKE_VERSION;
  return kSuccess;
}
FAKE Result ncclGetUniqueId(UniqueId* id) {
  std::memset(id->bytes, 5, sizeof id->bytes);
  return kSuccess;
}
FAKE Result ncclCommInitRankConfig(Communicator* /*communicator*/, int /*ranks*/, UniqueId /*id*/,
                                   int /*rank*/, Config* /*config*/) {
  return 1;
}
FAKE Result ncclCommDestroy(Communicator /*communicator*/) { return kSuccess; }
FAKE Result ncclCommAbort(Communicator /*communicator*/) { return kSuccess; }
FAKE Result ncclCommGetAsyncError(Communicator /*communicator*/, Result* error) {
  *error = kSuccess;
  return kSuccess;
}
FAKE Result ncclAllReduce(const void* /*send*/, void* /*receive*/, size_t /*count*/,
                          DataType /*type*/, Reduction /*reduction*/, Communicator /*communicator*/,
                          Stream /*stream*/) {
  return 1;
}
FAKE const char* ncclGetErrorString(Result /*result*/) { return "a fake's error"; }
