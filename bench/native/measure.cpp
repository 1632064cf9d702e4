#include "measure.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "threads.h"

namespace tandem::bench {
namespace {

double time_of(const Side& side, int64_t calls) {
  const double start = now();
  side.run(calls);
  return now() - start;
}

/// The same, once more when a thread lost its processor meanwhile: on a busy machine the side whom
/// that hits would look slow. After some attempts the best of them.
double undisturbed_time_of(const Side& side, int64_t calls) {
  constexpr int kAttempts = 4;
  double best = HUGE_VAL;
  for (int i = 0; i < kAttempts; ++i) {
    const long before = times_interrupted();
    best = std::min(best, time_of(side, calls));
    if (times_interrupted() == before) break;
  }
  return best;
}

/// What a turn of a side is to be.
struct Turn {
  int64_t calls;
  bool warms_itself;  ///< it takes so long that how it begins is no part of its time
};

/// Threads wake, memory comes into the caches, the clock rises.
void warm_up(const Side& side, const Turn& turn, int threads) {
  if (threads > 1) wait_until_quiet();
  if (turn.warms_itself) return;
  const double end = now() + (threads > 1 ? 0.002 : 0.0003);
  do {
    side.run(1 + turn.calls / 8);
  } while (now() < end);
}

Turn turn_of(const Side& side, double seconds) {
  int64_t calls = 1;
  while (true) {
    const double time = time_of(side, calls);
    if (time >= 0.2 * seconds) {
      const double fitting = static_cast<double>(calls) * seconds / time;
      return {std::max<int64_t>(1, static_cast<int64_t>(fitting)), fitting < 0.1};
    }
    calls *= 4;
  }
}

}  // namespace

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::vector<Rates> take_turns(const std::vector<Side>& sides, const Effort& effort, int threads) {
  std::vector<Rates> rates;
  std::vector<Turn> turns;
  for (const Side& side : sides) {
    warm_up(side, {1, false}, threads);
    pin_new_threads();
    rates.push_back({side.name, {}});
    turns.push_back(turn_of(side, effort.turn));
  }
  const double end = now() + effort.most;
  for (int round = 0; round < effort.rounds && (round < effort.fewest || now() < end); ++round) {
    for (size_t turn = 0; turn < sides.size(); ++turn) {
      // who starts changes, so that nobody always follows the same one
      const size_t i = (turn + static_cast<size_t>(round)) % sides.size();
      warm_up(sides[i], turns[i], threads);
      const double time = undisturbed_time_of(sides[i], turns[i].calls);
      rates[i].values.push_back(sides[i].work * static_cast<double>(turns[i].calls) / time);
    }
  }
  return rates;
}

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

double highest(const std::vector<double>& values) {
  return values.empty() ? 0 : *std::max_element(values.begin(), values.end());
}

double paired_ratio(const Rates& over, const Rates& under) {
  std::vector<double> ratios;
  for (size_t i = 0; i < over.values.size(); ++i)
    ratios.push_back(over.values[i] / under.values[i]);
  return median(ratios);
}

}  // namespace tandem::bench
