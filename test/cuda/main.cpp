// The tests that need a GPU. Without one nothing is tested and the program says so with exit code
// 77, which CTest counts as skipped.
#include <cstdio>

#include "core/error.h"
#include "parity.h"

int main(int argc, char** argv) {
  try {
    std::printf("on %s\n", tandem::check::gpu().name());
  } catch (const tandem::Error& error) {
    std::printf("nothing tested: %s\n", error.what());
    constexpr int kSkipped = 77;
    return kSkipped;
  }
  return tandem::check::run(argc > 1 ? argv[1] : nullptr);
}
