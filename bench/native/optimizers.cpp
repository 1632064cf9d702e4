// Sweeps of the optimizers over parameters, gradients and state, in the caches and in memory. The
// roof reads and writes the same streams in place.
#include <string_view>

#include "core/op.h"
#include "program.h"
#include "roofs.h"
#include "suite.h"

namespace tandem::bench {
namespace {

struct Optimizer {
  const char* name;
  Op op;
  AttributeList attributes;
  int slots;  ///< of state
};

Graph sweep(const Optimizer& optimizer, int64_t n) {
  Graph graph;
  std::vector<ValueId> operands{graph.add_arena(ArenaKind::kParameters, 0, n),
                                graph.add_arena(ArenaKind::kGradients, 0, n)};
  if (optimizer.slots > 0)
    operands.push_back(graph.add_arena(ArenaKind::kOptimizer, 0, optimizer.slots * n));
  graph.apply(optimizer.op, operands, make_attributes(optimizer.op, optimizer.attributes));
  return graph;
}

void measure_sweep(const Suite& suite, const Case& c, const Optimizer& optimizer, int64_t bytes) {
  const Traffic traffic{2 + optimizer.slots, 1 + optimizer.slots, true};
  const int64_t n = bytes / traffic.reads / static_cast<int64_t>(sizeof(float)) / 128 * 128;
  const double moved = static_cast<double>(sizeof(float)) * static_cast<double>(n) *
                       (traffic.reads + traffic.writes);
  suite.measure(c, under_roof({our_program(sweep(optimizer, n), moved, c.threads)}, traffic, bytes,
                              c.threads));
}

}  // namespace

void run_optimizers(const Suite& suite) {
  const Optimizer optimizers[] = {
      {"sgd", Op::sgd, {}, 0},
      {"sgd with momentum", Op::sgd, {{"momentum", 0.9}}, 1},
      {"adam", Op::adam, {}, 2},
      {"adamw", Op::adam, {{"weightDecay", 0.01}, {"decoupled", true}}, 2},
      {"rmsprop", Op::rmsprop, {}, 1},
      {"adagrad", Op::adagrad, {}, 1},
  };
  const CacheSizes sizes = working_sets();
  for (const Optimizer& optimizer : optimizers) {
    for (const int threads : suite.options().threads) {
      const auto measure = [&](const char* place, int64_t bytes) {
        const Case c{"optimizer", std::string(optimizer.name) + ", " + place, "f32", threads,
                     "GB/s"};
        if (suite.wants(c)) measure_sweep(suite, c, optimizer, bytes);
      };
      if (threads == 1) measure("L1", sizes.l1);
      measure("L2", sizes.l2 * threads);
      const bool wanted = !suite.options().quick || optimizer.name == std::string_view("adamw");
      if (wanted && suite.goes_to_memory(threads)) measure("memory", sizes.memory);
    }
  }
}

}  // namespace tandem::bench
