#include "cpu/schedule.h"

#include <algorithm>

namespace tandem::cpu {
namespace {

/// Fills `after` of each unit: the units of the steps that its steps wait for, the latest first,
/// without those that others of them wait for.
void connect(std::vector<Unit>& units, const std::vector<StepShape>& steps) {
  std::vector<size_t> unit_of(steps.size());
  std::vector<std::vector<bool>> before(units.size());
  for (size_t u = 0; u < units.size(); ++u) {
    std::vector<size_t> earlier;
    for (size_t s = units[u].first; s < units[u].last; ++s) {
      unit_of[s] = u;
      for (const size_t step : steps[s].after) {
        if (unit_of[step] != u) earlier.push_back(unit_of[step]);
      }
    }
    std::sort(earlier.rbegin(), earlier.rend());
    before[u].assign(u, false);
    for (const size_t e : earlier) {
      if (before[u][e]) continue;
      include_with_earlier(before[u], e, before[e]);
      units[u].after.push_back(static_cast<uint32_t>(e));
    }
  }
}

}  // namespace

std::vector<Unit> make_units(const std::vector<StepShape>& steps) {
  std::vector<Unit> units;
  bool open = false;  // the last unit is of small steps and takes more of them
  double cost = 0;    // of that unit
  for (size_t i = 0; i < steps.size(); ++i) {
    if (steps[i].tiles > 1 && steps[i].cost >= kWorthSharing) {
      units.push_back({i, i + 1, steps[i].tiles, {}});
      open = false;
      continue;
    }
    if (!open || cost + steps[i].cost > kWorthSharing) {
      units.push_back({i, i, 1, {}});
      open = true;
      cost = 0;
    }
    units.back().last = i + 1;
    cost += steps[i].cost;
  }
  connect(units, steps);
  return units;
}

UnitQueue::UnitQueue(std::vector<Unit> units, int workers)
    : units_(std::move(units)),
      shares_each_(static_cast<size_t>(std::clamp(workers, 1, kMaxShares))),
      shares_(units_.size() * shares_each_),
      progress_(units_.size()) {
  for (size_t i = 0; i < units_.size(); ++i) {
    if (units_[i].tiles > 1) shared_end_ = i + 1;
  }
}

void UnitQueue::reset() noexcept {
  for (size_t unit = 0; unit < units_.size(); ++unit) {
    for (size_t share = 0; share < shares_of(unit); ++share) {
      shares_[unit * shares_each_ + share].next.store(share_begin(unit, share),
                                                      std::memory_order_relaxed);
    }
    progress_[unit].done.store(0, std::memory_order_relaxed);
    progress_[unit].exhausted.store(false, std::memory_order_relaxed);
  }
}

bool UnitQueue::ready(size_t unit) const noexcept {
  if (exhausted(unit)) return false;
  const std::vector<uint32_t>& after = units_[unit].after;
  return std::all_of(after.begin(), after.end(), [&](uint32_t earlier) {
    return progress_[earlier].done.load(std::memory_order_acquire) == units_[earlier].tiles;
  });
}

}  // namespace tandem::cpu
