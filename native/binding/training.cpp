#include "binding/training.h"

#include <algorithm>
#include <cmath>

#include "binding/arrays.h"
#include "binding/values.h"

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
      step(trainer.step()),
      staging(trainer.backend()),
      memory(env) {
  rows.push_back(make_rows(trainer.graph(), ranges));
  report_memory(1, trainer.profile().memory);
}

std::unique_ptr<const RowPlan> Training::make_rows(
    const GraphDescription& graph, const std::vector<std::optional<IntegerRange>>& ranges) const {
  const size_t count = graph.inputs.size() - (trainer.scale_count() > 0 ? 1 : 0);
  return std::make_unique<const RowPlan>(plan_rows(graph, count, ranges));
}

size_t Training::add_graph(GraphDescription graph,
                           const std::vector<std::optional<IntegerRange>>& ranges) {
  if (graph.inputs.size() != trainer.graph().inputs.size()) {
    fail_expected(ErrorCode::kArgument,
                  std::to_string(trainer.graph().inputs.size()) + " inputs, as the trainer has,",
                  "graph", std::to_string(graph.inputs.size()));
  }
  rows.reserve(rows.size() + 1);
  std::unique_ptr<const RowPlan> plan = make_rows(graph, ranges);
  const size_t which = parameters->gate.visit([&] { return trainer.add_graph(std::move(graph)); });
  rows.push_back(std::move(plan));
  return which;
}

size_t Training::read_which(const Call& call, size_t index) const {
  const Napi::Value value(call.env(), call[index]);
  if (value.IsUndefined()) return 0;
  return static_cast<size_t>(read_integer(value, "graph", 0, static_cast<double>(rows.size() - 1)));
}

void Training::report_memory(uint64_t size, const MemoryUse& use) {
  if (size <= reported_size) return;
  reported_size = size;
  memory.set(use.total() - use.parameters);  // V8 knows of the parameters through their buffer
}

void Training::check_pending(Work work) const {
  if (pending[static_cast<size_t>(work)] < kMaxPending) return;
  constexpr const char* kNames[] = {"train()", "evaluate()", "evaluate()", "divisors()"};
  fail(ErrorCode::kBusy, std::string("expected at most two pending calls of ") +
                             kNames[static_cast<size_t>(work)] + ", received a third");
}

/// A copy of a Float64Array of finite numbers.
static std::vector<double> read_numbers(napi_env env, napi_value value, size_t count,
                                        const char* name) {
  const ArrayView view = view_array(env, value, [name] { return name; });
  if (view.type != napi_float64_array) {
    fail_expected(ErrorCode::kDType, "a Float64Array", name, type_name(view.type));
  }
  if (view.length != count) fail_length(static_cast<int64_t>(count), view.length, name);
  const auto* data = static_cast<const double*>(view.data);
  std::vector<double> numbers(data, data + view.length);
  for (const double number : numbers) {
    if (!std::isfinite(number)) {
      fail_expected(ErrorCode::kArgument, "finite numbers", name, std::to_string(number));
    }
  }
  return numbers;
}

Work evaluation(const Call& call, size_t index) {
  const Napi::Value value(call.env(), call[index]);
  const bool averages = !value.IsUndefined() && read_boolean(value, "averages");
  return averages ? Work::kEvaluateAverages : Work::kEvaluate;
}

TrainingPlan read_training_plan(const Call& call, size_t first, size_t micro_batches,
                                size_t scales) {
  const napi_env env = call.env();
  TrainingPlan plan;
  plan.learning_rates = read_numbers(env, call[first], micro_batches, "learningRates");
  if (Napi::Value(env, call[first + 1]).IsUndefined()) return plan;
  plan.weights = read_numbers(env, call[first + 1], micro_batches, "weights");
  plan.marks = copy_uint32_array(env, call[first + 2], "marks");
  if (plan.marks.size() != micro_batches)
    fail_length(static_cast<int64_t>(micro_batches), plan.marks.size(), "marks");
  if (scales > 0 && !Napi::Value(env, call[first + 3]).IsUndefined())
    plan.scales = read_numbers(env, call[first + 3], micro_batches * scales, "scales");
  return plan;
}

StagedRows::StagedRows(std::shared_ptr<Training> training, size_t which, std::vector<uint32_t> rows,
                       std::vector<uint32_t> sizes)
    : training_(std::move(training)),
      which_(which),
      plan_(training_->rows[which].get()),
      sizes_(std::move(sizes)),
      gathered_(*plan_, std::move(rows), training_->staging.take()),
      stop_count_(training_->stop_count),
      evaluation_stop_count_(training_->evaluation_stop_count) {}

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

/// Elements of the largest step.
static uint64_t largest_of(const StagedRows& rows) {
  uint64_t elements = 0;
  for (const InputRows& input : rows.plan().inputs)
    elements += input.whole ? 0 : static_cast<uint64_t>(input.elements);
  const std::vector<uint32_t>& sizes = rows.sizes();
  const uint64_t most = sizes.empty() ? 0 : *std::max_element(sizes.begin(), sizes.end());
  return most * std::max<uint64_t>(elements, 1);
}

/// Where the results of each step begin, and their end.
static std::vector<size_t> result_offsets(const StagedRows& staged, Work work) {
  const Trainer& trainer = staged.training()->trainer;
  std::vector<size_t> offsets;
  offsets.reserve(staged.sizes().size() + 1);
  offsets.push_back(0);
  for (const uint32_t rows : staged.sizes()) {
    const size_t numbers = work == Work::kDivisors ? trainer.divisor_count()
                                                   : trainer.results_of(rows, staged.which());
    offsets.push_back(offsets.back() + numbers +
                      (work == Work::kTrain ? Trainer::kStepResults : 0));
  }
  return offsets;
}

void StagedRows::find_inputs(size_t first_row, std::vector<const void*>& inputs) const {
  for (size_t k = 0; k < inputs.size(); ++k) {
    const InputRows& input = plan().inputs[k];
    const size_t skipped = input.whole ? 0 : first_row * static_cast<size_t>(input.elements) * 4;
    inputs[k] = gathered_.input(k) + skipped;
  }
}

void TrainingQueue::push(const void* call, const StagedRows* rows) noexcept {
  const std::lock_guard lock(mutex_);
  waiting_.push_back({call, rows});
}

void TrainingQueue::remove(const void* call) noexcept {
  const std::lock_guard lock(mutex_);
  std::erase_if(waiting_, [call](const Waiting& waiting) { return waiting.call == call; });
}

bool TrainingQueue::begin(const void* call) noexcept {
  remove(call);
  return std::exchange(announced_, nullptr) == call;
}

bool TrainingQueue::announce_first(uint32_t rows, size_t which, std::vector<const void*>& inputs) {
  const std::lock_guard lock(mutex_);
  if (waiting_.empty()) return false;
  const auto& [call, staged] = waiting_.front();
  if (staged->sizes().empty() || staged->sizes()[0] != rows || staged->which() != which)
    return false;
  staged->find_inputs(0, inputs);
  announced_ = call;
  return true;
}

/// Numbers that take the event loop a noticeable time to copy.
constexpr size_t kManyResults = size_t{1} << 16U;

TrainingJob::TrainingJob(Addon& addon, StagedRows rows, TrainingPlan plan, Work work)
    : addon_(addon),
      rows_(std::move(rows)),
      training_(*rows_.training()),
      plan_(std::move(plan)),
      work_(work),
      offsets_(result_offsets(rows_, work)),
      results_(offsets_.back() < kManyResults ? offsets_.back() : 0),
      largest_(largest_of(rows_)),
      may_grow_(work != Work::kDivisors && largest_ > training_.reported_size) {
  if (trains()) lease_parameters();
  training_.parameters->begin_use();
  ++training_.pending[static_cast<size_t>(work_)];
}

// Not before: a call that never comes to the lane must not be announced there.
void TrainingJob::on_push() noexcept {
  if (trains()) training_.queue.push(this, &rows_);
}

TrainingJob::~TrainingJob() {
  ParameterArena& arena = *training_.parameters;
  training_.queue.remove(this);
  if (trains() && --arena.writers == 0) addon_.leases().remove(arena.buffer.bytes());
  arena.end_use();
  --training_.pending[static_cast<size_t>(work_)];
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
  if (!trains() || rows_.sizes().size() != 1) return Job::expected_ms();
  return training_.trainer.expected_step_ms(rows_.sizes()[0], rows_.which());
}

double* TrainingJob::results() noexcept {
  return shared_.data == nullptr ? results_.data() : reinterpret_cast<double*>(shared_.data.get());
}

void TrainingJob::run(const std::atomic<bool>& halt) {
  const std::vector<uint32_t>& sizes = rows_.sizes();
  std::vector<const void*>& inputs = training_.inputs;
  std::vector<const void*>& next = training_.next;
  inputs.resize(rows_.inputs());
  next.resize(rows_.inputs());
  size_t first_row = 0;
  // Here, as the event loop would take milliseconds for it.
  if (offsets_.back() >= kManyResults)
    shared_ = cpu_backend().allocate(static_cast<int64_t>(offsets_.back() * sizeof(double)));
  if (trains() && !training_.queue.begin(this)) training_.trainer.forget_next();
  for (size_t i = 0; i < sizes.size(); ++i) {
    // A step that has begun is finished, unless the environment ends.
    if (halt || (rows_.stopped(work_) && !(trains() && training_.trainer.is_within_step()))) return;
    rows_.find_inputs(first_row, inputs);
    first_row += sizes[i];
    run_step(i, inputs, find_next(i, first_row, next) ? &next : nullptr);
  }
  // Here and not in finish(), which would wait for the step that the next job has begun.
  if (may_grow_) memory_ = training_.trainer.profile().memory;
}

/// The inputs of the step behind step `i`, where it is known and has as many rows: one of this
/// call, or the first one of the next.
bool TrainingJob::find_next(size_t i, size_t first_row, std::vector<const void*>& next) {
  if (!trains()) return false;
  const std::vector<uint32_t>& sizes = rows_.sizes();
  if (i + 1 == sizes.size()) return training_.queue.announce_first(sizes[i], rows_.which(), next);
  if (sizes[i + 1] == sizes[i]) rows_.find_inputs(first_row, next);
  return sizes[i + 1] == sizes[i];
}

void TrainingJob::run_step(size_t i, const std::vector<const void*>& inputs,
                           const std::vector<const void*>* next) {
  training_.parameters->gate.begin_step();
  struct End {
    Training& training;
    ~End() {
      training.step = training.trainer.step();
      training.parameters->gate.end_step();
    }
  } const end{training_};
  double* const results = this->results() + offsets_[i];
  switch (work_) {
    case Work::kTrain:
      training_.trainer.train(rows_.sizes()[i], inputs, plan_.learning_rates[i], results,
                              micro_batch(i), rows_.which(), next);
      break;
    case Work::kEvaluate:
      training_.trainer.evaluate(rows_.sizes()[i], inputs, results, rows_.which());
      break;
    case Work::kEvaluateAverages:
      training_.trainer.evaluate_averages(rows_.sizes()[i], inputs, results, rows_.which());
      break;
    case Work::kDivisors:
      training_.trainer.divisors(rows_.sizes()[i], inputs, results, rows_.which());
      break;
  }
  done_ = i + 1;
}

MicroBatch TrainingJob::micro_batch(size_t i) const {
  if (plan_.weights.empty()) return {};
  const uint32_t marks = plan_.marks[i];
  const double* scales =
      plan_.scales.empty() ? nullptr : plan_.scales.data() + i * training_.trainer.scale_count();
  return {plan_.weights[i], (marks & TrainingPlan::kFirst) != 0, (marks & TrainingPlan::kLast) != 0,
          scales};
}

napi_value TrainingJob::finish(napi_env env) {
  if (memory_) training_.report_memory(largest_, *memory_);
  if (shared_.data == nullptr) return make_array(env, results_.data(), offsets_[done_]);
  const SharedBuffer buffer(env, addon_, shared_, shared_.bytes);
  napi_value array = nullptr;
  check(env, napi_create_typedarray(env, napi_float64_array, offsets_[done_], buffer.array_buffer(),
                                    0, &array));
  return array;
}

}  // namespace tandem::binding
