// A small graph compiled for the CPU with operands of its own: how cases run what users run.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/backend.h"
#include "core/graph.h"
#include "measure.h"

namespace tandem::bench {

class Block;

class Program {
 public:
  /// Inputs are noise, numbers below `classes` where they are int32. `frozen`: the graph's
  /// parameters never change. Arenas of the graph are those that an optimizer sweeps.
  Program(Graph graph, int threads, bool frozen, int64_t classes);

  void run(int64_t calls);

 private:
  void bind(const Graph& graph, Block& block, int64_t classes);

  std::vector<Memory> memory_;  ///< all that the executable was told about
  std::unique_ptr<FrozenWeights> weights_;
  std::unique_ptr<Executable> executable_;
  StepState state_{1e-3, 1, 0, 0.0F, 1.0F, 0, 0};
};

/// Our side of a case: `work` operations or bytes for each run of the graph. (No case has fewer
/// classes than 10.)
Side our_program(Graph graph, double work, int threads, bool frozen = false, int64_t classes = 10);

}  // namespace tandem::bench
