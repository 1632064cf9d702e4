#include "binding/training.h"

#include <algorithm>
#include <cmath>

#include "binding/arrays.h"

namespace tandem::binding {

Training::Training(napi_env env, std::shared_ptr<ParameterArena> arena,
                   const GraphDescription& graph, const TrainerOptions& options,
                   const DeviceOption& device,
                   const std::vector<std::optional<IntegerRange>>& ranges)
    : parameters(std::move(arena)),
      trainer(on_device(device, device_reason,
                        [&](const Backend& backend) {
                          return Trainer(parameters->store, graph, options, backend);
                        })),
      rows(plan_rows(trainer.graph(), ranges)),
      step(trainer.step()),
      memory(env) {
  report_memory(1, trainer.profile().memory);
}

void Training::report_memory(uint32_t largest, const MemoryUse& use) {
  if (largest <= reported_rows) return;
  reported_rows = largest;
  memory.set(use.total() - use.parameters);  // V8 knows of the parameters through their buffer
}

void Training::check_pending(bool train) const {
  // One runs while the next one's rows are gathered.
  constexpr int kMaxPending = 2;
  if ((train ? pending_train : pending_evaluate) < kMaxPending) return;
  fail(ErrorCode::kBusy, std::string("expected at most two pending calls of ") +
                             (train ? "train()" : "evaluate()") + ", received a third");
}

std::vector<double> read_learning_rates(napi_env env, napi_value value, size_t steps) {
  const ArrayView view = view_array(env, value, [] { return "learningRates"; });
  if (view.type != napi_float64_array) {
    fail_expected(ErrorCode::kDType, "a Float64Array", "learningRates", type_name(view.type));
  }
  if (view.length != steps) {
    fail_length(static_cast<int64_t>(steps), view.length, "learningRates");
  }
  const auto* data = static_cast<const double*>(view.data);
  std::vector<double> rates(data, data + view.length);
  for (const double rate : rates) {
    if (!std::isfinite(rate)) {
      fail_expected(ErrorCode::kArgument, "finite numbers", "learningRates", std::to_string(rate));
    }
  }
  return rates;
}

StagedRows::StagedRows(std::shared_ptr<Training> training, std::vector<uint32_t> rows,
                       std::vector<uint32_t> sizes)
    : training_(std::move(training)),
      sizes_(std::move(sizes)),
      gathered_(training_->rows, std::move(rows), training_->staging.take()),
      stop_count_(training_->stop_count) {}

StagedRows::~StagedRows() {
  if (training_ != nullptr) training_->staging.give(gathered_.take_staging());
}

void ParameterCopyJob::run(const std::atomic<bool>& /*halt*/) {
  training_->parameters->gate.visit([this] {
    if (to_host_) {
      training_->trainer.sync();
    } else {
      training_->trainer.upload();
    }
  });
}

static uint32_t largest_of(const std::vector<uint32_t>& sizes) {
  return sizes.empty() ? 0 : *std::max_element(sizes.begin(), sizes.end());
}

/// Where the results of each step begin, and their end.
static std::vector<size_t> result_offsets(const Trainer& trainer,
                                          const std::vector<uint32_t>& sizes, bool train) {
  std::vector<size_t> offsets{0};
  for (const uint32_t rows : sizes) {
    const size_t numbers = trainer.results_of(rows) + (train ? 1 : 0);
    offsets.push_back(offsets.back() + numbers);
  }
  return offsets;
}

TrainingJob::TrainingJob(Addon& addon, StagedRows rows, std::vector<double> learning_rates,
                         bool train)
    : addon_(addon),
      rows_(std::move(rows)),
      training_(*rows_.training()),
      learning_rates_(std::move(learning_rates)),
      train_(train),
      offsets_(result_offsets(training_.trainer, rows_.sizes(), train)),
      results_(offsets_.back()),
      largest_(largest_of(rows_.sizes())),
      may_grow_(largest_ > training_.reported_rows) {
  if (train_) lease_parameters();
  training_.parameters->begin_use();
  ++(train_ ? training_.pending_train : training_.pending_evaluate);
}

TrainingJob::~TrainingJob() {
  ParameterArena& arena = *training_.parameters;
  if (train_ && --arena.writers == 0) addon_.leases().remove(arena.buffer.bytes());
  arena.end_use();
  --(train_ ? training_.pending_train : training_.pending_evaluate);
}

void TrainingJob::lease_parameters() {
  ParameterArena& arena = *training_.parameters;
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

double TrainingJob::expected_ms() const noexcept {
  if (!train_ || rows_.sizes().size() != 1) return Job::expected_ms();
  return training_.trainer.expected_step_ms(rows_.sizes()[0]);
}

void TrainingJob::run(const std::atomic<bool>& halt) {
  std::vector<const void*> inputs(rows_.gathered().inputs());
  const std::vector<uint32_t>& sizes = rows_.sizes();
  size_t first_row = 0;
  for (size_t i = 0; i < sizes.size(); ++i) {
    if (halt || rows_.stopped()) return;
    for (size_t k = 0; k < inputs.size(); ++k) {
      const InputRows& input = training_.rows.inputs[k];
      const size_t skipped = input.whole ? 0 : first_row * static_cast<size_t>(input.elements) * 4;
      inputs[k] = rows_.gathered().input(k) + skipped;
    }
    run_step(i, inputs);
    first_row += sizes[i];
  }
  // Here and not in finish(), which would wait for the step that the next job has begun.
  if (may_grow_) memory_ = training_.trainer.profile().memory;
}

void TrainingJob::run_step(size_t i, const std::vector<const void*>& inputs) {
  training_.parameters->gate.begin_step();
  struct End {
    Training& training;
    ~End() {
      training.step = training.trainer.step();
      training.parameters->gate.end_step();
    }
  } const end{training_};
  double* const results = results_.data() + offsets_[i];
  if (train_) {
    training_.trainer.train(rows_.sizes()[i], inputs, learning_rates_[i], results);
  } else {
    training_.trainer.evaluate(rows_.sizes()[i], inputs, results);
  }
  done_ = i + 1;
}

napi_value TrainingJob::finish(napi_env env) {
  if (memory_) training_.report_memory(largest_, *memory_);
  return make_array(env, results_.data(), offsets_[done_]);
}

}  // namespace tandem::binding
