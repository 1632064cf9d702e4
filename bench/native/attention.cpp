// Causal attention of one value of queries, keys and values, and its gradient. The roof is the peak
// of the products alone, of which a causal one takes half.
#include "core/autodiff.h"
#include "program.h"
#include "roofs.h"
#include "suite.h"

namespace tandem::bench {
namespace {

struct Heads {
  int64_t batch, heads, time, depth;
  bool quick;
};

constexpr Heads kHeads[] = {
    {12, 4, 64, 32, true}, {8, 6, 256, 64, true}, {1, 8, 1024, 64, false}, {1, 2, 4096, 64, false}};

Graph graph_of(const Heads& heads, bool backward) {
  Graph graph;
  const int64_t width = heads.heads * heads.depth;
  const ValueId qkv =
      graph.add_input(make_tensor({heads.batch, heads.time, 3 * width}, DType::kFloat32));
  const AttributeStorage attributes = make_attributes(
      Op::attention, {{"heads", static_cast<double>(heads.heads)}, {"causal", true}});
  if (!backward) {
    graph.outputs = {graph.apply(Op::attention, {qkv}, attributes)};
    return graph;
  }
  // y and the log-sum-exp as inputs, so that the gradient is all that runs
  const ValueId y = graph.add_input(make_tensor({heads.batch, heads.time, width}, DType::kFloat32));
  const ValueId log_sums =
      graph.add_input(make_tensor({heads.batch, heads.heads, heads.time}, DType::kFloat32));
  const ValueId dy = graph.add_input(graph.tensor(y));
  graph.outputs = {graph.apply(Op::attentionGrad,
                               {qkv, kNoValue, kNoValue, kNoValue, y, log_sums, dy}, attributes)};
  return graph;
}

std::string shape_of(const Heads& heads) {
  return joined({heads.batch, heads.heads, heads.time, heads.depth});
}

double operations(const Heads& heads, bool backward) {
  const double product = 2.0 * static_cast<double>(heads.batch * heads.heads) *
                         static_cast<double>(heads.time * heads.time) *
                         static_cast<double>(heads.depth);
  return 0.5 * product * (backward ? 5 : 2);
}

}  // namespace

void run_attention(const Suite& suite) {
  for (const bool backward : {false, true}) {
    for (const Heads& heads : kHeads) {
      if (suite.options().quick && !heads.quick) continue;
      for (const int threads : suite.options().threads) {
        const std::string op = backward ? "attentionGrad " : "attention ";
        const Case c{"attention", op + shape_of(heads), "f32", threads};
        if (!suite.wants(c)) continue;
        std::vector<Side> sides{
            our_program(graph_of(heads, backward), operations(heads, backward), threads)};
        if (const auto roof = peak("f32", threads)) sides.push_back(*roof);
        suite.measure(c, sides);
      }
    }
  }
}

}  // namespace tandem::bench
