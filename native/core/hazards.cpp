#include "core/hazards.h"

#include <algorithm>

namespace tandem {
namespace {

bool overlap(const Access& a, const Access& b) {
  if (!a.writes && !b.writes) return false;
  return a.space == b.space && a.begin < b.end && b.begin < a.end;
}

/// The memory of a value. The caller's memory counts as one piece for inputs and one piece for each
/// output: nothing is known of where they lie.
Access access_of(const Graph& graph, const Plan& plan, ValueId id, bool writes) {
  const Place& place = plan.places[static_cast<size_t>(id)];
  if (place.space == Space::kInput || place.space == Space::kOutput) {
    constexpr int64_t kAnywhere = int64_t{1} << 32;
    if (!writes) return {Space::kOutput, 0, kAnywhere, false};
    return {Space::kOutput, place.index, place.index + 1, true};
  }
  const int64_t bytes = byte_size(graph.tensor(id));
  return {place.space, place.offset, place.offset + bytes, writes};
}

}  // namespace

std::vector<Access> accesses_of(const Plan& plan, size_t index, int64_t workspace_bytes) {
  const Node& node = plan.graph.nodes[index];
  const OpInfo& op = info(node.op);
  std::vector<Access> all;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    if (node.inputs[i] == kNoValue) continue;
    all.push_back(
        access_of(plan.graph, plan, node.inputs[i], i < 32 && (op.writes >> i & 1U) != 0));
  }
  for (const ValueId id : node.outputs) all.push_back(access_of(plan.graph, plan, id, true));
  if (workspace_bytes > 0) {
    const int64_t offset = plan.workspaces[index];
    all.push_back({Space::kArena, offset, offset + workspace_bytes, true});
  }
  if ((op.flags & (kReadsState | kWritesState)) != 0)
    all.push_back({Space::kNone, 0, 1, (op.flags & kWritesState) != 0});
  return all;
}

void include_with_earlier(std::vector<bool>& set, size_t index, const std::vector<bool>& earlier) {
  set[index] = true;
  for (size_t i = 0; i < earlier.size(); ++i) {
    if (earlier[i]) set[i] = true;
  }
}

bool Hazards::conflict(const std::vector<Access>& accesses, size_t node) const {
  return std::any_of(accesses.begin(), accesses.end(), [&](const Access& mine) {
    return std::any_of(nodes_[node].begin(), nodes_[node].end(),
                       [&](const Access& other) { return overlap(mine, other); });
  });
}

std::vector<size_t> Hazards::add(std::vector<Access> accesses) {
  std::vector<size_t> direct;
  std::vector<bool> before(nodes_.size(), false);
  for (size_t node = nodes_.size(); node-- > 0;) {
    if (before[node] || !conflict(accesses, node)) continue;
    direct.push_back(node);
    include_with_earlier(before, node, before_[node]);
  }
  nodes_.push_back(std::move(accesses));
  before_.push_back(std::move(before));
  return direct;
}

}  // namespace tandem
