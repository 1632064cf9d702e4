// How times are taken: the sides of a case (ours, the roof, the peers) take turns in many short
// rounds, so that whatever else the machine does, and its clock, hits all of them alike.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace tandem::bench {

struct Side {
  std::string name;  ///< "ours", "roof", or a peer's
  double work;       ///< of a call: operations or bytes
  std::function<void(int64_t calls)> run;
};

struct Effort {
  int rounds;
  int fewest;   ///< rounds that there are even where they take longer than a case is to
  double turn;  ///< seconds that a side's turn lasts, at least one call
  double most;  ///< seconds that the rounds of a case take, where `fewest` do not take longer
};

/// Work per second, one for each round.
struct Rates {
  std::string name;
  std::vector<double> values;
};

/// Seconds of a clock that only rises.
double now();

/// `threads`: of each side. With several, a turn starts when the threads of the one before sleep.
std::vector<Rates> take_turns(const std::vector<Side>& sides, const Effort& effort, int threads);

double median(std::vector<double> values);
double highest(const std::vector<double>& values);
/// Median of what two sides' rates give round by round.
double paired_ratio(const Rates& over, const Rates& under);

}  // namespace tandem::bench
