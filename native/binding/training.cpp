#include "binding/training.h"

#include <algorithm>

#include "binding/arrays.h"

namespace tandem::binding {

Training::Training(napi_env env, std::shared_ptr<ParameterArena> arena, GraphDescription graph,
                   const TrainerOptions& options)
    : parameters(std::move(arena)),
      trainer(parameters->store, std::move(graph), options, cpu_backend()),
      rows(plan_rows(trainer.graph())),
      step(trainer.step()),
      memory(env) {
  report_memory(1);
}

void Training::report_memory(uint32_t largest) {
  if (largest <= reported_rows) return;
  reported_rows = largest;
  const MemoryUse use = profile().memory;
  memory.set(use.total() - use.parameters);  // V8 knows of the parameters through their buffer
}

TrainingJob::TrainingJob(Addon& addon, std::shared_ptr<Training> training, GatheredRows rows,
                         std::vector<uint32_t> sizes, std::vector<double> learning_rates,
                         bool train)
    : addon_(addon),
      training_(std::move(training)),
      rows_(std::move(rows)),
      sizes_(std::move(sizes)),
      learning_rates_(std::move(learning_rates)),
      train_(train),
      stop_count_(training_->stop_count),
      width_(training_->trainer.results_per_step() - (train ? 0 : 1)),
      results_(sizes_.size() * width_) {
  if (train_) lease_parameters();
  training_->parameters->begin_use();
  ++(train_ ? training_->pending_train : training_->pending_evaluate);
}

TrainingJob::~TrainingJob() {
  ParameterArena& arena = *training_->parameters;
  if (train_ && --arena.writers == 0) addon_.leases().remove(arena.buffer.bytes());
  arena.end_use();
  training_->staging.give(std::move(rows_.staging));
  --(train_ ? training_->pending_train : training_->pending_evaluate);
}

void TrainingJob::lease_parameters() {
  ParameterArena& arena = *training_->parameters;
  if (arena.writers == 0) {
    const ByteRange range = arena.buffer.bytes();
    if (addon_.leases().overlaps(range)) {
      fail(ErrorCode::kBusy,
           "expected parameters that nothing else writes, received some that are the output of a "
           "pending call");
    }
    addon_.leases().add(range);
  }
  ++arena.writers;
}

void TrainingJob::run(const std::atomic<bool>& halt) {
  std::vector<const void*> inputs(rows_.offsets.size());
  size_t first_row = 0;
  for (size_t i = 0; i < sizes_.size(); ++i) {
    if (halt || training_->stop_count != stop_count_) return;
    for (size_t k = 0; k < inputs.size(); ++k) {
      const InputRows& input = training_->rows.inputs[k];
      const size_t skipped = input.whole ? 0 : first_row * static_cast<size_t>(input.elements) * 4;
      inputs[k] = rows_.staging.data() + rows_.offsets[k] + skipped;
    }
    run_step(i, inputs);
    first_row += sizes_[i];
  }
}

void TrainingJob::run_step(size_t i, const std::vector<const void*>& inputs) {
  training_->parameters->gate.begin_step();
  struct End {
    Training& training;
    ~End() {
      training.step = training.trainer.step();
      training.parameters->gate.end_step();
    }
  } const end{*training_};
  double* const results = results_.data() + i * width_;
  if (train_) {
    training_->trainer.train(sizes_[i], inputs, learning_rates_[i], results);
  } else {
    training_->trainer.evaluate(sizes_[i], inputs, results);
  }
  done_ = i + 1;
}

napi_value TrainingJob::finish(napi_env env) {
  training_->report_memory(*std::max_element(sizes_.begin(), sizes_.end()));
  return make_array(env, results_.data(), done_ * width_);
}

}  // namespace tandem::binding
