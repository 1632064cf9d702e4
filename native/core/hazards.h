// Which nodes of a plan have to wait for which: nodes touch memory at known places, so this is
// known before a plan runs. A node waits for those before it that write what it touches or read
// what it writes, and for nothing else.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/plan.h"

namespace tandem {

/// Bytes [begin, end) of a space that a node reads, or also writes.
struct Access {
  Space space;
  int64_t begin, end;
  bool writes;
};

/// Finds for each node, in order, which nodes before it must end before it starts.
class Hazards {
 public:
  /// Nodes (counted from 0 in order of the calls) that the next one waits for, without those that
  /// they wait for themselves.
  std::vector<size_t> add(std::vector<Access> accesses);

 private:
  [[nodiscard]] bool conflict(const std::vector<Access>& accesses, size_t node) const;

  std::vector<std::vector<Access>> nodes_;
  std::vector<std::vector<bool>> before_;  ///< by node: all that end before it starts
};

/// All that a node touches. StepState is the one byte of Space::kNone.
std::vector<Access> accesses_of(const Plan& plan, size_t index, int64_t workspace_bytes);

/// Adds `index`, and `earlier` of it, to `set`.
void include_with_earlier(std::vector<bool>& set, size_t index, const std::vector<bool>& earlier);

}  // namespace tandem
