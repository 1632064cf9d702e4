// fp16-mixed: rounding to float16, the scale of losses by the rule of torch.amp.GradScaler, and
// training with it on the CPU.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "check.h"
#include "core/ops/loss_scale.h"
#include "core/precision.h"
#include "node_runner.h"
#include "training_support.h"

using namespace tandem;
using namespace tandem::cpu;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

/// To eleven significant bits, or a multiple of 2^-24, halves to even; infinity beyond 65504.
double to_float16(float value) {
  if (!std::isfinite(value)) return static_cast<double>(value);
  int exponent = 0;
  (void)std::frexp(value, &exponent);
  const double step = std::ldexp(1.0, std::max(exponent, -13) - 11);
  const double near = std::nearbyint(static_cast<double>(value) / step) * step;
  return std::fabs(near) > 65504 ? std::copysign(HUGE_VAL, near) : near;
}

TrainerOptions mixed_options() {
  TrainerOptions options = adam_options();
  options.precision = Precision::kFp16Mixed;
  return options;
}

struct MixedRun : Run {
  explicit MixedRun(const TrainerOptions& options) : Run(options) {
    x = random_floats(16 * 6, 1);
    t = random_floats(16 * 3, 2);
  }
  /// Whether the step that `now` is behind was left out.
  [[nodiscard]] bool skipped() const { return results[2] == 0 && !std::isfinite(results[1]); }
  [[nodiscard]] LossScaler scaler() const { return trainer->progress().loss_scaler; }
  void set_scale(float scale, int good_steps = 0) {
    std::vector<float> saved(static_cast<size_t>(trainer->saved_layout().floats()));
    trainer->save(saved.data());
    Trainer::Progress progress = trainer->progress();
    progress.loss_scaler = {scale, good_steps};
    trainer->load(saved.data(), progress);
  }
};

std::string refused(Run& run) {
  try {
    run.step();
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::kNumeric);
    return error.message();
  }
  return "";
}

}  // namespace

TEST(float16_is_rounded_to_nearest_even) {
  std::vector<float> x = {0.0F,     1.0F,      2047.0F,     2049.0F,    2051.0F,    65504.0F,
                          65519.0F, 65520.0F,  65536.0F,    1e30F,      kInfinity,  kNan,
                          0x1p-14F, 0x1p-24F,  0x1p-25F,    0x1.8p-24F, 0x1.8p-25F, 0x1.4p-23F,
                          0x1p-30F, 0x1p-126F, 0x1p-149F,   1e-5F,      0.1F,       1023.75F,
                          6.09e-5F, 3.4e38F,   0x1.ffep-15F};
  std::mt19937 engine(7);
  for (int i = 0; i < 3000; ++i) {
    const float mantissa = 1.0F + static_cast<float>(engine() >> 8) * 0x1p-24F;
    x.push_back(std::ldexp(mantissa, static_cast<int>(engine() % 50) - 30));
  }
  for (size_t i = 0, n = x.size(); i < n; ++i) x.push_back(-x[i]);
  const auto n = static_cast<int64_t>(x.size());
  for (const Isa& isa : isas()) {
    NodeRunner node(Op::roundToFloat16, ops::NoAttributes{});
    node.input({n}, x).output({n}).run(isa);
    const std::vector<float> y = node.result();
    for (size_t i = 0; i < x.size(); ++i) {
      const double expected = to_float16(x[i]);
      CHECK(std::isnan(expected) ? std::isnan(y[i]) : static_cast<double>(y[i]) == expected);
    }
  }
}

TEST(losses_are_scaled_and_gradients_unscaled) {
  for (const int64_t n : {1, 7, 33, 40000}) {
    std::vector<float> x = random_floats(n, 3);
    x[static_cast<size_t>(n - 1)] = kInfinity;
    for (const Isa& isa : isas()) {
      StepState state{};
      state.loss_scale = 1024.0F;
      NodeRunner scale(Op::lossScale, ops::NoAttributes{});
      scale.input({n}, x).output({n}).run(isa, &state);
      const std::vector<float> scaled = scale.result();
      for (size_t i = 0; i < scaled.size(); ++i) CHECK(scaled[i] == x[i] * 1024.0F);
      NodeRunner unscale(Op::unscaleGradients, ops::NoAttributes{});
      unscale.input({n}, scaled, true).run(isa, &state);
      CHECK(unscale.input_now(0) == x);
    }
  }
}

TEST(loss_scaler_follows_the_rule_of_gradscaler) {
  LossScaler scaler;
  CHECK(scaler.scale == 65536.0F);
  for (int i = 0; i < 1999; ++i) scaler.update(false);
  CHECK(scaler.scale == 65536.0F && scaler.good_steps == 1999);
  scaler.update(false);
  CHECK(scaler.scale == 131072.0F && scaler.good_steps == 0);
  scaler.update(false);
  scaler.update(true);
  CHECK(scaler.scale == 65536.0F && scaler.good_steps == 0);
  scaler.update(true);
  CHECK(scaler.scale == 32768.0F);
  // as large as it may be, it stays
  scaler = {0x1p127F, 1999};
  scaler.update(false);
  CHECK(scaler.scale == 0x1p127F && scaler.good_steps == 0);
  scaler = {};
  int halvings = 0;
  for (; !scaler.is_exhausted(); ++halvings) scaler.update(true);
  CHECK(halvings == 40);
}

TEST(fp16_rounds_factors_where_the_device_does_not) {
  Graph graph;
  const ValueId x = graph.add_input(make_tensor({8, 6}, DType::kFloat32));
  const ValueId w = graph.add_parameter(make_tensor({4, 6}, DType::kFloat32));
  const ValueId b = graph.add_parameter(make_tensor({4}, DType::kFloat32));
  const ValueId v = graph.add_parameter(make_tensor({4, 4}, DType::kFloat32));
  const ValueId y = graph.apply(Op::linear, {x, w, b});
  const ValueId twice = graph.apply(Op::matmul, {graph.apply(Op::matmul, {y, v}), v});
  graph.outputs = {graph.apply(Op::softmax, {twice})};
  Graph same = graph;
  use_precision(same, Precision::kFloat32, cpu_backend());
  CHECK(same.nodes.size() == 4);
  use_precision(graph, Precision::kFp16Mixed, cpu_backend());
  std::vector<Op> order;
  for (const Node& node : graph.nodes) order.push_back(node.op);
  // a weight that two products read is rounded once, the bias never
  CHECK((order == std::vector<Op>{Op::roundToFloat16, Op::roundToFloat16, Op::linear,
                                  Op::roundToFloat16, Op::roundToFloat16, Op::matmul,
                                  Op::roundToFloat16, Op::matmul, Op::softmax}));
  CHECK(graph.nodes[2].inputs[2] == b);
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    for (const ValueId id : graph.nodes[i].outputs)
      CHECK(graph.value(id).index == static_cast<int32_t>(i));
  }
}

TEST(fp16_rounds_what_attention_multiplies) {
  Graph graph;
  const ValueId qkv = graph.add_input(make_tensor({2, 3, 12}, DType::kFloat32));
  const ValueId mask = graph.add_input(make_tensor({3, 3}, DType::kFloat32));
  const AttributeStorage two = make_attributes(Op::attention, {{"heads", 2.0}});
  graph.outputs = {graph.apply(Op::attention, {qkv}, two),
                   graph.apply(Op::attention, {qkv, kNoValue, kNoValue, mask}, two)};
  use_precision(graph, Precision::kFp16Mixed, cpu_backend());
  CHECK(graph.nodes.size() == 3 && graph.nodes[0].op == Op::roundToFloat16);
  for (const size_t i : {1, 2}) CHECK(graph.nodes[i].inputs[0] == graph.nodes[0].outputs[0]);
  CHECK(graph.nodes[2].inputs[3] == mask);
}

TEST(fp16_trains_as_float32_does) {
  TrainerOptions plain = mixed_options();
  plain.precision = Precision::kFloat32;
  for (const double norm : {0.0, 0.1}) {
    for (const bool accumulates : {false, true}) {
      TrainerOptions options = mixed_options();
      options.max_gradient_norm = plain.max_gradient_norm = norm;
      options.accumulates = plain.accumulates = accumulates;
      MixedRun mixed(options);
      MixedRun exact(plain);
      for (int i = 0; i < 30; ++i) {
        mixed.step();
        exact.step();
        CHECK_NEAR(mixed.results[0], exact.results[0], 2e-3 * exact.results[0]);
        CHECK_NEAR(mixed.results[1], exact.results[1], 5e-3 * exact.results[1]);
      }
      CHECK(difference(mixed.now(), exact.now()) < 5e-3 &&
            difference(mixed.now(), exact.now()) > 0);
      CHECK(mixed.trainer->progress().skipped == 0 && mixed.scaler().good_steps == 30);
    }
  }
}

TEST(fp16_skips_steps_that_overflow_until_the_scale_fits) {
  TrainerOptions options = mixed_options();
  options.average_decay = 0.9;
  MixedRun run(options);
  for (float& t : run.t) t += 1000;
  const std::vector<float> before = run.now();
  int skips = 0;
  for (run.step(); run.skipped() && skips < 20; run.step()) {
    ++skips;
    CHECK(std::isfinite(run.results[0]));
    CHECK(run.now() == before);
    CHECK(run.scaler().scale == std::ldexp(65536.0F, -skips));
  }
  // 2 * 1000 / 48 of the loss's scale is the gradient of y
  CHECK(skips >= 5 && skips <= 8);
  const Trainer::Progress progress = run.trainer->progress();
  CHECK(progress.skipped == static_cast<uint64_t>(skips) && progress.skips == 0);
  CHECK(progress.step == static_cast<uint64_t>(skips) + 1 && progress.backoff == 1);
  CHECK(progress.loss_scaler.good_steps == 1);
  // Adam's first step is the rate, however many were skipped before
  const std::vector<float> after = run.now();
  for (size_t i = 0; i < 6; ++i) {
    CHECK_NEAR(std::fabs(static_cast<double>(after[i]) - static_cast<double>(before[i])), 1e-2,
               1e-4);
  }
  // and averages begin with it
  const Trainer::SavedLayout layout = run.trainer->saved_layout();
  std::vector<float> saved(static_cast<size_t>(layout.floats()));
  run.trainer->save(saved.data());
  CHECK(layout.averages);
  CHECK(std::equal(saved.end() - layout.trainable, saved.end(), saved.begin()));
}

TEST(fp16_grows_its_scale_and_goes_on_from_what_was_saved) {
  MixedRun run(mixed_options());
  run.set_scale(4096.0F, 1998);
  run.step();
  CHECK(run.scaler().scale == 4096.0F && run.scaler().good_steps == 1999);
  std::vector<float> saved(static_cast<size_t>(run.trainer->saved_layout().floats()));
  run.trainer->save(saved.data());
  const Trainer::Progress progress = run.trainer->progress();
  run.step();
  CHECK(run.scaler().scale == 8192.0F && run.scaler().good_steps == 0);
  run.step();
  MixedRun other(mixed_options());
  other.trainer->load(saved.data(), progress);
  other.step();
  other.step();
  CHECK(other.now() == run.now());
  CHECK(other.scaler().scale == 8192.0F && other.scaler().good_steps == 1);
}

TEST(fp16_skips_a_step_with_one_micro_batch_that_overflows) {
  for (const int bad : {0, 1}) {
    TrainerOptions options = mixed_options();
    options.accumulates = true;
    MixedRun run(options);
    const std::vector<float> before = run.now();
    const size_t at = static_cast<size_t>(bad) * 24;
    run.t[at] = 1e6F;
    run.step(0, 8, {1.0, true, false});
    run.step(8, 8, {0.5, false, true});
    CHECK(run.skipped() && run.now() == before);
    CHECK(run.scaler().scale == 32768.0F && run.trainer->step() == 1);
    // a loss that is none
    run.t[at] = kNan;
    run.step(0, 8, {1.0, true, false});
    run.step(8, 8, {0.5, false, true});
    CHECK(run.results[2] == 0 && std::isnan(run.results[1]) && run.now() == before);
    CHECK(run.scaler().scale == 16384.0F);
    run.t[at] = 0;
    run.step(0, 8, {1.0, true, false});
    run.step(8, 8, {0.5, false, true});
    CHECK(!run.skipped() && run.now() != before);
  }
}

TEST(fp16_leaves_losses_that_are_not_finite_to_numeric_checks) {
  MixedRun plain(mixed_options());
  const float kept = plain.x[3];
  plain.x[3] = kNan;
  plain.step();
  CHECK(plain.skipped() && plain.scaler().scale == 32768.0F);

  TrainerOptions options = mixed_options();
  options.check_numerics = true;
  MixedRun checked(options);
  checked.x[3] = kNan;
  const std::vector<float> before = checked.now();
  CHECK(refused(checked).find("first in input `x`") != std::string::npos);
  CHECK(checked.now() == before && checked.trainer->step() == 0);
  checked.x[3] = kept;
  checked.t[0] = 1e6F;  // gradients alone are the scaler's
  checked.step();
  CHECK(checked.skipped() && checked.scaler().scale == 32768.0F);

  options.skip = {true, 0.5, 100, 1};
  MixedRun skipping(options);
  skipping.t[0] = 1e6F;
  skipping.step();
  CHECK(skipping.skipped() && skipping.trainer->progress().backoff == 1);
  skipping.x[3] = kNan;
  skipping.step();
  CHECK(skipping.skipped() && skipping.trainer->progress().backoff == 0.5);
  CHECK(!refused(skipping).empty());
}

TEST(fp16_gives_up_where_no_scale_helps) {
  MixedRun run(mixed_options());
  run.t[0] = 3e38F;
  run.set_scale(LossScaler::kLeastScale * 2);
  const std::vector<float> before = run.now();
  run.step();
  CHECK(run.skipped() && run.scaler().is_exhausted());
  const std::string message = refused(run);
  CHECK(message.find("however little the loss is scaled") != std::string::npos);
  CHECK(run.now() == before);
}
