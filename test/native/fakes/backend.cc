// A stand-in for libtandem_cuda.so, which fails as a real one may: with an error thrown across the
// border. FAKE_ABI is what it adds to the number that has to agree.
#include "core/device_library.h"

namespace {

const tandem::Backend& open(int ordinal) {
  if (ordinal == 0) {
    throw tandem::Error(tandem::ErrorCode::kOutOfMemory,
                        "expected 1024 bytes of memory on cuda:0, which has 512 of 2048 free");
  }
  throw tandem::Error(tandem::ErrorCode::kDevice, "expected cuBLASLt, received none");
}

}  // namespace

extern "C" __attribute__((visibility("default"))) const tandem::DeviceLibrary*
tandem_device_library() {
  static constexpr tandem::DeviceLibrary library{tandem::device_abi() + FAKE_ABI, 13000, &open};
  return &library;
}
