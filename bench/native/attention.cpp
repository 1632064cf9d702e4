// Causal attention of one value of queries, keys and values, and its gradient, with products of
// floats and of bfloat16; the latter beside the former. The roof is the peak of the products alone,
// of which a causal one takes half.
#include "core/autodiff.h"
#include "core/precision.h"
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
      graph.add_input(make_tensor({heads.batch, heads.heads, heads.time, 2}, DType::kFloat32));
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

Side side_of(const Heads& heads, bool backward, bool bf16, int threads) {
  Graph graph = graph_of(heads, backward);
  if (bf16) use_bf16(graph);
  return our_program(std::move(graph), operations(heads, backward), threads);
}

void measure(const Suite& suite, const Heads& heads, bool backward, const char* type, int threads) {
  const bool bf16 = type == std::string("bf16");
  const std::string op = backward ? "attentionGrad " : "attention ";
  const Case c{"attention", op + shape_of(heads), type, threads};
  if (!suite.wants(c)) return;
  std::vector<Side> sides{side_of(heads, backward, bf16, threads)};
  if (bf16) {
    sides.push_back(side_of(heads, backward, false, threads));
    sides.back().name = "float32";
  }
  if (const auto roof = peak(type, threads)) sides.push_back(*roof);
  suite.measure(c, sides);
}

}  // namespace

void run_attention(const Suite& suite) {
  for (const bool backward : {false, true}) {
    for (const Heads& heads : kHeads) {
      if (suite.options().quick && !heads.quick) continue;
      for (const int threads : suite.options().threads) {
        for (const char* type : {"f32", "bf16"}) measure(suite, heads, backward, type, threads);
      }
    }
  }
}

}  // namespace tandem::bench
