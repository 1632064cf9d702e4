#include "cpu/float_tiles.h"

#include <cstdlib>
#include <string>

#include "core/error.h"

namespace tandem::cpu {
namespace {

bool choose() {
  // Read once, by the first thread that plans a product. NOLINTNEXTLINE(concurrency-mt-unsafe)
  const char* variable = std::getenv("TANDEM_FLOAT_TILES");
  const std::string chosen = variable == nullptr || *variable == '\0' ? "1" : variable;
  if (chosen != "0" && chosen != "1")
    fail(ErrorCode::kDevice, "expected TANDEM_FLOAT_TILES to be 0 or 1, received " + chosen);
  return chosen == "1";
}

}  // namespace

bool float_tiles() {
  static const bool chosen = choose();
  return chosen;
}

}  // namespace tandem::cpu
