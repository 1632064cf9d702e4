// What surrounds a training step: micro-batches, ranks, state that is kept, steps that are skipped.
#include <array>
#include <cmath>
#include <condition_variable>
#include <cstring>
#include <limits>
#include <mutex>
#include <numeric>
#include <thread>

#include "check.h"
#include "training_support.h"

using namespace tandem;

namespace {

/// Ranks in one process: each waits for the others in every bucket.
class Meeting {
 public:
  explicit Meeting(int ranks) : ranks_(ranks) {}
  void mean(float* gradients, int64_t count, int rank) {
    std::unique_lock lock(mutex_);
    if (parts_.empty()) parts_.resize(static_cast<size_t>(ranks_));
    parts_[static_cast<size_t>(rank)].assign(gradients, gradients + count);
    const int round = round_;
    if (++arrived_ == ranks_) {
      sum_.assign(static_cast<size_t>(count), 0.0F);
      for (const auto& part : parts_) {
        for (size_t i = 0; i < part.size(); ++i) sum_[i] += part[i] / static_cast<float>(ranks_);
      }
      arrived_ = 0;
      ++round_;
      changed_.notify_all();
    }
    changed_.wait(lock, [&] { return round_ != round; });
    std::memcpy(gradients, sum_.data(), sum_.size() * sizeof(float));
    // nobody may come to the next bucket before all have left this one
    const int leaving = ++left_;
    if (leaving == ranks_) {
      left_ = 0;
      ++departures_;
      changed_.notify_all();
    } else {
      const int departure = departures_;
      changed_.wait(lock, [&] { return departures_ != departure; });
    }
  }

 private:
  int ranks_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::vector<float>> parts_;
  std::vector<float> sum_;
  int arrived_ = 0;
  int left_ = 0;
  int round_ = 0;
  int departures_ = 0;
};

class Rank : public GradientReducer {
 public:
  Rank(Meeting& meeting, int ranks, int rank) : meeting_(meeting), ranks_(ranks), rank_(rank) {}
  [[nodiscard]] int ranks() const override { return ranks_; }
  void reduce(float* gradients, int64_t count) override { meeting_.mean(gradients, count, rank_); }

 private:
  Meeting& meeting_;
  int ranks_;
  int rank_;
};

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace

TEST(training_micro_batches_are_one_batch) {
  TrainerOptions options = adam_options();
  Run whole(options);
  options.accumulates = true;
  Run parts(options);
  for (int i = 0; i < 3; ++i) {
    whole.step();
    parts.step(0, 4, {1.0, true, false});
    CHECK(std::isnan(parts.results[1]) && parts.trainer->is_within_step());
    parts.step(4, 10, {10.0 / 14, false, false});
    parts.step(14, 2, {2.0 / 16, false, true});
    CHECK(!parts.trainer->is_within_step());
    CHECK_NEAR(parts.results[1], whole.results[1], 1e-5);
  }
  CHECK_NEAR(difference(parts.now(), whole.now()), 0.0, 1e-6);
  CHECK(parts.trainer->step() == 3);
  // a step that was left in the middle is forgotten
  Run again(options);
  again.step(8, 8, {1.0, true, false});
  again.step(0, 16, {1.0, true, true});
  Run once(options);
  once.step();
  CHECK(same_bits(again.now(), once.now()));
  CHECK_THROWS(whole.step(0, 4, {1.0, true, false}));
}

TEST(training_ranks_take_the_same_steps_as_one_trainer) {
  Run whole(adam_options());
  for (int i = 0; i < 4; ++i) whole.step();
  Meeting meeting(2);
  std::vector<std::unique_ptr<Run>> runs;
  std::vector<std::thread> threads;
  for (int rank = 0; rank < 2; ++rank) {
    TrainerOptions options = adam_options();
    options.reducer = std::make_shared<Rank>(meeting, 2, rank);
    runs.push_back(std::make_unique<Run>(options));
    threads.emplace_back([run = runs.back().get(), rank] {
      for (int i = 0; i < 4; ++i) run->step(8 * rank, 8);
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(same_bits(runs[0]->now(), runs[1]->now()));
  CHECK_NEAR(difference(runs[0]->now(), whole.now()), 0.0, 1e-5);
}

TEST(training_buckets_are_whole_parameters_from_the_last_to_the_first) {
  std::vector<ParameterDescription> parameters;
  for (const int64_t length : {40, 100, 7, 300, 1}) parameters.push_back({"p", {length}, true, {}});
  parameters.push_back({"statistic", {50}, false, {}});
  const ParameterLayout layout = make_layout(parameters);
  for (const int64_t bytes : {1, 520, 1 << 20}) {
    const std::vector<Bucket> buckets = make_buckets(layout, bytes);
    int64_t end = layout.trainable_bytes / 4;
    for (const Bucket& bucket : buckets) {
      CHECK(bucket.first + bucket.count == end && bucket.count > 0);
      end = bucket.first;
      bool begins = false;
      for (size_t i = 0; i < 5; ++i) begins = begins || layout.offsets[i] / 4 == bucket.first;
      CHECK(begins);
    }
    CHECK(end == 0);
    CHECK(buckets.size() == (bytes == 1 ? 5U : bytes == 520 ? 4U : 1U));
  }
}

TEST(training_goes_on_from_what_it_saved) {
  for (const Op optimizer : {Op::sgd, Op::adam, Op::rmsprop, Op::adagrad, Op::lion, Op::lamb}) {
    TrainerOptions options = adam_options();
    options.optimizer = optimizer;
    AttributeList attributes;
    if (optimizer == Op::sgd || optimizer == Op::rmsprop) attributes = {{"momentum", 0.9}};
    options.optimizer_attributes = make_attributes(optimizer, attributes);
    options.average_decay = 0.75;
    Run whole(options);
    for (int i = 0; i < 3; ++i) whole.step();
    std::vector<float> saved(static_cast<size_t>(whole.trainer->saved_layout().floats()));
    whole.trainer->save(saved.data());
    const Trainer::Progress progress = whole.trainer->progress();
    for (int i = 0; i < 3; ++i) whole.step();
    // by another way of updating, whose state lies elsewhere
    for (const double norm : {0.0, 1e9}) {
      options.max_gradient_norm = norm;
      Run other(options);
      other.trainer->load(saved.data(), progress);
      std::vector<float> copy(saved.size());
      other.trainer->save(copy.data());
      CHECK(same_bits(copy, saved));
      for (int i = 0; i < 3; ++i) other.step();
      CHECK(other.trainer->step() == 6);
      if (norm == 0) CHECK(same_bits(other.now(), whole.now()));
      CHECK_NEAR(difference(other.now(), whole.now()), 0.0, 1e-5);
    }
  }
}

TEST(training_evaluates_a_copy_of_the_averages) {
  TrainerOptions options = adam_options();
  options.average_decay = 0.5;
  Run run(options);
  const std::vector<const void*> inputs{run.x.data(), run.t.data()};
  run.step();
  run.step();
  double loss[2] = {};
  CHECK_THROWS(run.trainer->evaluate_averages(16, inputs, loss));
  const std::vector<float> parameters = run.now();
  std::vector<float> saved(static_cast<size_t>(run.trainer->saved_layout().floats()));
  run.trainer->save(saved.data());
  run.trainer->copy_averages();
  run.trainer->evaluate_averages(16, inputs, loss);
  CHECK(same_bits(run.now(), parameters));
  // the averages as parameters, which lie last in what is saved
  Run averaged(options);
  const std::vector<float> averages(saved.end() - static_cast<int64_t>(parameters.size()),
                                    saved.end());
  std::memcpy(averaged.store->memory().data.get(), averages.data(), averages.size() * 4);
  averaged.trainer->evaluate(16, inputs, loss + 1);
  CHECK(loss[0] == loss[1]);
  run.trainer->evaluate(16, inputs, loss);
  CHECK(loss[0] != loss[1]);
  // a step moves the averages on, and not their copy
  run.step();
  run.trainer->evaluate_averages(16, inputs, loss);
  CHECK(loss[0] == loss[1]);
  run.trainer->copy_averages();
  run.trainer->evaluate_averages(16, inputs, loss);
  CHECK(loss[0] != loss[1]);
  Run plain(adam_options());
  CHECK_THROWS(plain.trainer->copy_averages());
}

TEST(training_runs_graphs_of_several_lengths_over_one_state) {
  const auto at_length = [](int64_t length) {
    GraphDescription d = regression();
    d.inputs[0].shape = {-1, length, 6};
    d.inputs[1].shape = {-1, length, 3};
    return d;
  };
  for (const bool accumulates : {false, true}) {
    TrainerOptions options = adam_options();
    options.accumulates = accumulates;
    Run several(options, at_length(4));
    Run one(options, at_length(4));
    const size_t shorter = several.trainer->add_graph(at_length(2));
    const size_t single = several.trainer->add_graph(at_length(1));
    CHECK(shorter == 1 && single == 2 && several.trainer->graph_count() == 3);
    const std::vector<const void*> inputs{one.x.data(), one.t.data()};
    // sixteen positions, cut into rows of 4, 2 and 1
    for (int i = 0; i < 6; ++i) {
      const auto which = static_cast<size_t>(i % 3);
      const int64_t rows = std::array<int64_t, 3>{4, 8, 16}[which];
      several.trainer->train(rows, inputs, 1e-2, several.results, {}, which);
      one.trainer->train(4, inputs, 1e-2, one.results);
      CHECK_NEAR(several.results[0], one.results[0], 1e-6);
      CHECK_NEAR(several.results[1], one.results[1], 1e-5);
      several.trainer->evaluate(rows, inputs, several.results, which);
      one.trainer->evaluate(4, inputs, one.results);
      CHECK_NEAR(several.results[0], one.results[0], 1e-6);
    }
    CHECK(several.trainer->step() == 6);
    CHECK_NEAR(difference(several.now(), one.now()), 0.0, 1e-5);
    CHECK(several.trainer->profile().memory.activations ==
          one.trainer->profile().memory.activations);
    GraphDescription more = at_length(2);
    more.outputs.push_back(more.outputs[0]);
    CHECK_THROWS(several.trainer->add_graph(more));
    GraphDescription other = at_length(2);
    other.parameters[0].shape = {9, 7};
    CHECK_THROWS(several.trainer->add_graph(other));
    CHECK(several.trainer->graph_count() == 3);
    while (several.trainer->graph_count() < Trainer::kMaxGraphs)
      several.trainer->add_graph(at_length(3));
    CHECK_THROWS(several.trainer->add_graph(at_length(3)));
  }
}

TEST(training_skips_steps_and_backs_off) {
  TrainerOptions options = adam_options();
  options.check_numerics = true;
  options.skip = {true, 0.5, 2, 2};
  Run run(options);
  run.step();
  const std::vector<float> before = run.now();
  const float kept = run.x[3];
  run.x[3] = std::numeric_limits<float>::quiet_NaN();
  run.step();
  CHECK(same_bits(run.now(), before));
  CHECK(run.results[2] == 0 && std::isnan(run.results[1]));
  CHECK(run.trainer->step() == 2);
  run.x[3] = kept;
  run.step();
  CHECK_NEAR(run.results[2], 0.005, 1e-12);
  run.step();
  CHECK_NEAR(run.results[2], 0.005, 1e-12);
  run.step();
  CHECK_NEAR(run.results[2], 0.01, 1e-12);
  run.x[3] = std::numeric_limits<float>::infinity();
  run.step();
  run.step();
  CHECK_THROWS(run.step());
}

TEST(training_skips_a_step_whose_first_micro_batch_is_bad) {
  TrainerOptions options = adam_options();
  options.check_numerics = true;
  options.accumulates = true;
  options.skip.skips = true;
  Run run(options);
  const std::vector<float> before = run.now();
  run.t[0] = std::numeric_limits<float>::quiet_NaN();
  run.step(0, 8, {1.0, true, false});
  run.step(8, 8, {0.5, false, true});
  CHECK(same_bits(run.now(), before));
  CHECK(run.results[2] == 0 && run.trainer->step() == 1);
  run.t[0] = 0;
  run.step(0, 16, {1.0, true, true});
  CHECK(!same_bits(run.now(), before));
}

TEST(training_names_what_is_not_finite_first) {
  const auto message = [](const GraphDescription& d, auto&& spoil) {
    TrainerOptions options = adam_options();
    options.check_numerics = true;
    Run run(options, d);
    spoil(run);
    const std::vector<float> before = run.now();
    std::string text;
    try {
      run.step();
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::kNumeric);
      text = error.what();
    }
    CHECK(same_bits(run.now(), before));
    return text;
  };
  const auto has = [](const std::string& text, const char* part) {
    if (text.find(part) != std::string::npos) return true;
    std::fputs(("received: " + text + "\n").c_str(), stderr);
    return false;
  };
  const float nan = std::numeric_limits<float>::quiet_NaN();
  CHECK(has(message(regression(), [=](Run& run) { run.t[2] = nan; }), "input `t`"));
  CHECK(has(
      message(regression(),
              [=](Run& run) { reinterpret_cast<float*>(run.store->memory().data.get())[0] = nan; }),
      "parameter `a.weight`"));
  CHECK(has(message(regression("tanh", true), [](Run&) {}), "op `log` of the forward pass"));
  CHECK(has(message(regression("abs"),
                    [](Run& run) {
                      run.x.assign(run.x.size(), 3e38F);
                      std::fill_n(reinterpret_cast<float*>(run.store->memory().data.get()), 54,
                                  2.0F);
                    }),
            "op `linear` with `a.weight` and `a.bias` of the forward pass"));
  // the root of exact zeros is a zero, its slope is not finite
  CHECK(has(message(regression("sqrt"),
                    [](Run& run) {
                      auto* p = reinterpret_cast<float*>(run.store->memory().data.get());
                      std::fill_n(p, 80, 0.0F);
                    }),
            "of the backward pass"));
}

TEST(training_leaves_frozen_parameters_alone) {
  TrainerOptions options = adam_options();
  options.groups = {options.optimizer_attributes};
  options.group_of = {UpdateOptions::kFrozen, 0, 0, UpdateOptions::kFrozen};
  Run run(options);
  const std::vector<float> before = run.now();
  for (int i = 0; i < 3; ++i) run.step();
  const std::vector<float> after = run.now();
  const ParameterLayout& layout = run.store->layout();
  for (size_t i = 0; i < 4; ++i) {
    const auto at = static_cast<size_t>(layout.offsets[i] / 4);
    CHECK((before[at] == after[at]) == (i == 0 || i == 3));
  }
  options.group_of = {0, 0};
  CHECK_THROWS(Run{options});
  options.group_of = {0, 0, 0, 1};
  CHECK_THROWS(Run{options});
}
