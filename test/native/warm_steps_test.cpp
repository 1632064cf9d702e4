// Steps and predictions of plans that have run before allocate nothing, on any thread, and are one
// dispatch of the pool each: what runs was settled when the plan was compiled.
#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>

#include "allocations.h"
#include "check.h"
#include "core/predictor.h"
#include "cpu/pool.h"
#include "cpu/scratch.h"
#include "training_support.h"
#include "warm_models.h"

using namespace tandem;
using cpu::Pool;

namespace {

/// Starts the pool's other thread and gives it the scratch that a thread keeps once a plan wanted
/// it: it may come to the first of the steps that are counted, having missed those before.
void warm_pool() {
  struct Meeting {
    std::atomic<bool> came{false};
  } meeting;
  constexpr int kPatience = 10000;
  for (int attempt = 0; !meeting.came; ++attempt) {
    if (attempt == kPatience) throw std::runtime_error("the pool has no second thread");
    Pool::instance().run(
        2, Pool::Length::kLong,
        [](void* context, int worker) {
          auto& shared = *static_cast<Meeting*>(context);
          constexpr int64_t kMoreThanAnyPlan = int64_t{16} << 20;
          (void)cpu::thread_scratch(kMoreThanAnyPlan);
          if (worker > 0) shared.came = true;
          for (int i = 0; i < 1000 && !shared.came; ++i) std::this_thread::yield();
        },
        &meeting);
  }
}

/// What each of some runs did.
struct Counts {
  uint64_t allocations;
  uint64_t dispatches;
};

template <typename Run>
Counts count(const Run& run) {
  constexpr int kRuns = 8;
  warm_pool();
  for (int i = 0; i < 3; ++i) run();
  const Counts before{allocations(), Pool::instance().dispatches()};
  for (int i = 0; i < kRuns; ++i) run();
  const uint64_t dispatches = Pool::instance().dispatches() - before.dispatches;
  const uint64_t allocated = allocations() - before.allocations;
  if (dispatches % kRuns != 0) check::fail(__FILE__, __LINE__, "runs have unlike dispatches");
  return {allocated, dispatches / kRuns};
}

void expect(const std::string& what, const Counts& counts, uint64_t dispatches) {
  if (counts.allocations == 0 && counts.dispatches == dispatches) return;
  check::fail(__FILE__, __LINE__,
              what + ": " + std::to_string(counts.allocations) + " allocations of 8 runs, " +
                  std::to_string(counts.dispatches) + " dispatches each, expected " +
                  std::to_string(dispatches));
}

constexpr const char* kPrecisions[] = {"float32", "bf16-mixed", "fp16-mixed"};
constexpr Precision kEach[] = {Precision::kFloat32, Precision::kBf16Mixed, Precision::kFp16Mixed};

std::string title(const WarmModel& model, Precision precision, int threads) {
  return std::string(model.name) + ", " + kPrecisions[static_cast<size_t>(precision)] + ", " +
         std::to_string(threads) + " threads";
}

TrainerOptions options_of(const WarmModel& model, Precision precision, int threads) {
  TrainerOptions options = adam_options(threads);
  if (model.decoupled)
    options.optimizer_attributes =
        make_attributes(Op::adam, {{"decoupled", true}, {"weightDecay", 0.01}});
  options.precision = precision;
  return options;
}

struct Training {
  WarmFeeds feeds;
  Trainer trainer;
  std::vector<double> results;

  Training(const WarmModel& model, const TrainerOptions& options)
      : feeds(model),
        trainer(std::make_shared<ParameterStore>(model.graph.parameters, 3), model.graph, options,
                cpu_backend()),
        results(trainer.results_of(model.rows) + Trainer::kStepResults) {}
  void step(const WarmModel& model, MicroBatch part = {}) {
    trainer.train(model.rows, feeds.inputs, 1e-3, results.data(), part);
  }
};

}  // namespace

TEST(warm_runs_are_counted) {
  const Counts counts = count([] {
    (void)cpu_backend().allocate(100);
    Pool::instance().run(2, Pool::Length::kLong, [](void*, int) {}, nullptr);
  });
  CHECK(counts.dispatches == 1);
  CHECK(!counts_allocations() || counts.allocations >= 8);
}

TEST(warm_steps_allocate_nothing_and_are_one_dispatch) {
  for (const WarmModel& model : warm_models(true)) {
    for (const Precision precision : kEach) {
      for (const int threads : {1, 2}) {
        Training training(model, options_of(model, precision, threads));
        const Counts counts = count([&] { training.step(model); });
        expect(title(model, precision, threads), counts, threads > 1 && !model.is_brief ? 1 : 0);
        CHECK(std::isfinite(training.results[0]));
      }
    }
  }
}

TEST(warm_evaluations_allocate_nothing_and_are_one_dispatch) {
  for (const WarmModel& model : warm_models(true)) {
    for (const int threads : {1, 2}) {
      Training training(model, options_of(model, Precision::kFloat32, threads));
      const Counts counts = count([&] {
        training.trainer.evaluate(model.rows, training.feeds.inputs, training.results.data());
      });
      expect(title(model, Precision::kFloat32, threads), counts,
             threads > 1 && !model.is_brief ? 1 : 0);
    }
  }
}

TEST(warm_steps_that_clip_or_check_are_one_dispatch) {
  for (const WarmModel& model : warm_models(true)) {
    TrainerOptions options = options_of(model, Precision::kFloat32, 2);
    options.max_gradient_norm = 0.5;
    options.check_numerics = true;
    options.average_decay = 0.9;
    Training training(model, options);
    const Counts counts = count([&] { training.step(model); });
    expect(title(model, Precision::kFloat32, 2) + ", clipped", counts, model.is_brief ? 0 : 1);
  }
}

TEST(warm_micro_batches_are_one_dispatch_and_their_update_one_more) {
  for (const WarmModel& model : warm_models(true)) {
    if (model.is_brief) continue;
    TrainerOptions options = options_of(model, Precision::kFloat32, 2);
    options.accumulates = true;
    Training training(model, options);
    const Counts counts = count([&] {
      training.step(model, {1.0, true, false});
      training.step(model, {0.5, false, true});
    });
    expect(title(model, Precision::kFloat32, 2) + ", accumulated", counts,
           model.is_update_brief ? 2 : 3);
  }
}

TEST(warm_predictions_allocate_nothing_and_are_one_dispatch) {
  for (const WarmModel& model : warm_models(false)) {
    for (const Precision precision : {Precision::kFloat32, Precision::kBf16Mixed}) {
      for (const int threads : {1, 2}) {
        const ParameterStore store(model.graph.parameters, 3);
        Predictor predictor(store, model.graph, threads, model.rows, cpu_backend(), precision);
        WarmFeeds feeds(model);
        std::vector<float> result(
            static_cast<size_t>(predictor.shapes(model.rows).outputs[0].numel));
        const std::vector<void*> outputs{result.data()};
        Predictor::Session session(predictor);
        const uint64_t dispatches = threads > 1 && !model.is_brief ? 1 : 0;
        expect(title(model, precision, threads),
               count([&] { session.run(model.rows, feeds.inputs, outputs); }), dispatches);
        session.bind(model.rows, feeds.inputs, outputs);
        expect(title(model, precision, threads) + ", bound", count([&] { session.run_bound(); }),
               dispatches);
      }
    }
  }
}
