#include "core/memory_limit.h"

#include <algorithm>

#include "core/error.h"

namespace tandem {

void check_memory_limit(int64_t limit, int64_t held, int64_t wanted, const Backend& backend) {
  if (limit <= 0 || wanted <= limit) return;
  // What is asked for may be held already, as packed weights are, which nobody knows the size of
  // before.
  const int64_t before = wanted > held ? held : 0;
  fail(ErrorCode::kOutOfMemory, "expected " + std::to_string(wanted - before) +
                                    " bytes of memory on " + backend.name() + ", which has " +
                                    std::to_string(std::max<int64_t>(limit - before, 0)) +
                                    " of `memoryLimit` " + std::to_string(limit) + " free");
}

}  // namespace tandem
