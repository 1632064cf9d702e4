#include "core/trainer.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "core/fuse.h"
#include "core/memory_limit.h"
#include "core/recompute.h"
#include "core/rounded_factors.h"
#include "core/training_graph.h"

namespace tandem {

struct Trainer::Compiled {
  Plan plan;
  std::unique_ptr<Executable> executable;
  std::vector<float> results;  ///< the graph's outputs, one after the other
  std::vector<DType> dtypes;   ///< of each element: those of int32 lie there as they are
  double last_step_ms = std::numeric_limits<double>::infinity();
};

namespace {

UpdateOptions update_options(const TrainerOptions& options, const GraphDescription& graph,
                             const Backend& backend) {
  UpdateOptions update{};
  update.optimizer = options.optimizer;
  update.groups = options.groups;
  update.group_of = options.group_of;
  if (update.groups.empty()) {
    update.groups = {options.optimizer_attributes};
    update.group_of.assign(graph.parameters.size(), 0);
  }
  const int slots = optimizer_slots(options.optimizer, update.groups[0]);
  for (const AttributeStorage& group : update.groups) {
    if (optimizer_slots(options.optimizer, group) != slots)
      fail(ErrorCode::kArgument, "expected groups with as much optimizer state, received others");
  }
  if (update.group_of.size() != graph.parameters.size()) {
    fail(ErrorCode::kArgument,
         "expected a group for each of " + std::to_string(graph.parameters.size()) +
             " parameters, received " + std::to_string(update.group_of.size()));
  }
  for (const int32_t group : update.group_of) {
    if (group < UpdateOptions::kFrozen || group >= static_cast<int32_t>(update.groups.size()))
      fail(ErrorCode::kArgument,
           "expected a group of those given, received number " + std::to_string(group));
  }
  update.max_gradient_norm = options.max_gradient_norm;
  update.max_gradient_value = options.max_gradient_value;
  update.average_decay = options.average_decay;
  update.check_numerics = options.check_numerics;
  update.scales_loss = options.precision == Precision::kFp16Mixed;
  update.on_the_way = backend.updates_on_the_way();
  update.apart = options.accumulates || options.reducer->ranks() > 1;
  return update;
}

}  // namespace

Trainer::Trainer(std::shared_ptr<ParameterStore> parameters, GraphDescription graph,
                 const TrainerOptions& options, const Backend& backend)
    : parameters_(std::move(parameters)), options_(options), backend_(backend) {
  // never moved: profile() may read it while add_graph() adds to it
  graphs_.reserve(kMaxGraphs);
  graphs_.push_back(check_graph(std::move(graph)));
  const GraphDescription& own = graphs_.front()->description;
  if (options_.reducer == nullptr) options_.reducer = local_reducer();
  update_options_ = update_options(options_, own, backend_);
  const ParameterLayout& layout = parameters_->layout();
  optimizer_layout_ = optimizer_layout(own.parameters, layout, update_options_);
  state_ranges_ = check_updates(own);
  // the sums of micro-batches lie behind the gradients
  const int64_t gradient_bytes = checked_mul(layout.trainable_bytes, update_options_.apart ? 2 : 1);
  const int64_t state_bytes = checked_mul(optimizer_layout_.floats, int64_t{sizeof(float)});
  check_memory_limit(options_.memory_limit, 0,
                     checked_add(checked_add(layout.bytes, gradient_bytes), state_bytes), backend_);
  device_parameters_ = parameters_->resident(backend_);
  gradients_ = backend_.allocate(gradient_bytes);
  optimizer_state_ = backend_.allocate(state_bytes);
  state_.seed = options_.seed;
  scales_.assign(options_.scales, 1.0F);
  if (update_options_.apart) compile_update();
}

Trainer::~Trainer() = default;

std::unique_ptr<Trainer::OwnGraph> Trainer::check_graph(GraphDescription graph) const {
  parameters_->check_matches(graph);
  for (const size_t output : options_.divisors) {
    if (output >= graph.outputs.size())
      fail(ErrorCode::kArgument, "expected divisors among the outputs, received others");
  }
  const Shape scales{static_cast<int64_t>(options_.scales)};
  if (options_.scales != 0 && (graph.inputs.empty() || graph.inputs.back().shape != scales ||
                               graph.inputs.back().dtype != DType::kFloat32))
    fail(ErrorCode::kShape, "expected an input for the scales of the loss's terms, received none");
  auto own = std::make_unique<OwnGraph>();
  own->results = measure_results(graph);
  for (const InputDescription& input : graph.inputs)
    own->row_inputs = checked_add(own->row_inputs, row_elements(input));
  own->description = std::move(graph);
  return own;
}

/// A device without a kernel that training needs is refused here, not at the first step.
std::vector<StateRange> Trainer::check_updates(const GraphDescription& graph) const {
  std::vector<Pin> pins;
  const Graph sample =
      training_graph(graph, 2, parameters_->layout(), update_options_, 0, backend_, pins);
  check_supported(sample, backend_);
  return state_ranges(sample);
}

size_t Trainer::add_graph(GraphDescription graph) {
  if (graphs_.size() >= kMaxGraphs) {
    fail(ErrorCode::kArgument,
         "expected at most " + std::to_string(kMaxGraphs) +
             " lengths of sequences, the model's own included, received more");
  }
  std::unique_ptr<OwnGraph> own = check_graph(std::move(graph));
  if (own->description.outputs.size() != graphs_.front()->description.outputs.size())
    fail(ErrorCode::kArgument, "expected as many outputs as the trainer's graph has");
  // updates that are apart are the same for all graphs
  const std::vector<StateRange> ranges = check_updates(own->description);
  if (!update_options_.apart && ranges != state_ranges_) {
    fail(ErrorCode::kArgument,
         "expected a graph whose parameters are updated as those of the trainer's, received "
         "another");
  }
  graphs_.push_back(std::move(own));
  return graphs_.size() - 1;
}

std::unique_ptr<Executable> Trainer::compile_plan(const Plan& plan, const Memory& parameters,
                                                  bool announces) const {
  const Arenas arenas{parameters.data.get(), gradients_.data.get(), optimizer_state_.data.get()};
  return backend_.compile({plan, arenas, options_.threads, nullptr, announces});
}

void Trainer::compile_update() {
  buckets_ = make_buckets(parameters_->layout(), kBucketBytes);
  auto compiled = std::make_unique<Compiled>();
  Graph graph = update_graph(this->graph().parameters, parameters_->layout(), update_options_);
  check_supported(graph, backend_);
  state_ranges_ = state_ranges(graph);
  compiled->plan = make_plan(std::move(graph), parameters_->layout(), {}, backend_);
  check_memory(*compiled);
  compiled->executable = compile_plan(compiled->plan, device_parameters_, false);
  check_memory(*compiled);
  update_ = std::move(compiled);
  reserve_arena(update_->plan.arena_bytes);
  update_->executable->bind_arena(arena_.data.get());
}

/// With as many segments as asked for, or those whose plan needs the least memory.
Plan Trainer::make_training_plan(PlanKey key) const {
  const ParameterLayout& layout = parameters_->layout();
  const auto plan_with = [&](int segments, size_t* forward) {
    std::vector<Pin> pins;
    Graph graph = training_graph(this->graph(key.which), key.batch, layout, update_options_,
                                 segments, backend_, pins);
    if (forward != nullptr) *forward = count_forward_nodes(graph);
    use_precision(graph, options_.precision, backend_);
    share_rounded_factors(graph, pins, backend_, false);
    return make_plan(std::move(graph), layout, std::move(pins), backend_);
  };
  if (options_.segments != TrainerOptions::kChooseSegments)
    return plan_with(options_.segments, nullptr);
  size_t forward = 0;
  Plan best = plan_with(1, &forward);
  for (const int segments : segment_counts(forward)) {
    if (segments == 1) continue;
    Plan plan = plan_with(segments, nullptr);
    if (plan.arena_bytes < best.arena_bytes) best = std::move(plan);
  }
  return best;
}

Plan Trainer::make_inference_plan(PlanKey key) const {
  Graph graph = instantiate(this->graph(key.which), key.batch, false);
  if (key.work == Work::kDivisors) {
    std::vector<ValueId> outputs;
    for (const size_t output : options_.divisors) outputs.push_back(graph.outputs[output]);
    graph.outputs = std::move(outputs);
    graph.remove_dead_nodes();
  }
  fuse(graph, backend_);
  use_precision(graph, options_.precision, backend_);
  share_rounded_factors(graph, {}, backend_, false);
  return make_plan(std::move(graph), parameters_->layout(), {}, backend_);
}

std::unique_ptr<Trainer::Compiled> Trainer::compile(PlanKey key) {
  auto compiled = std::make_unique<Compiled>();
  compiled->plan = key.work == Work::kTrain ? make_training_plan(key) : make_inference_plan(key);
  check_memory(*compiled);
  const bool averages = key.work == Work::kEvaluateAverages;
  // the scales of the loss's terms are known when a step begins
  const bool announces = key.work == Work::kTrain && scales_.empty();
  compiled->executable =
      compile_plan(compiled->plan, averages ? averages_ : device_parameters_, announces);
  check_memory(*compiled);
  const bool whole = key.work != Work::kDivisors;
  compiled->results.resize(whole ? results_of(key.batch, key.which) : options_.divisors.size());
  const Graph& built = compiled->plan.graph;
  const size_t outputs = whole ? built.outputs.size() : options_.divisors.size();
  size_t offset = 0;
  for (size_t i = 0; i < outputs; ++i) {
    const Tensor& tensor = built.tensor(built.outputs[i]);
    const size_t end = offset + static_cast<size_t>(tensor.numel);
    if (whole) check_result(graphs_[key.which]->results[i], tensor, key.batch);
    compiled->executable->bind_output(i, compiled->results.data() + offset);
    compiled->dtypes.resize(end, tensor.dtype);
    offset = end;
  }
  return compiled;
}

Trainer::Compiled& Trainer::compiled(PlanKey key) {
  std::unique_ptr<Compiled>& slot = plans_[key];
  if (slot == nullptr) {
    // plans are small, but a caller whose every batch has a size of its own must not collect them
    constexpr size_t kMaxPlans = 64;
    if (plans_.size() > kMaxPlans * graphs_.size()) {
      plans_.clear();
      return compiled(key);
    }
    try {
      std::unique_ptr<Compiled> fresh = compile(key);
      reserve_arena(fresh->plan.arena_bytes);
      fresh->executable->bind_arena(arena_.data.get());
      slot = std::move(fresh);
    } catch (...) {
      plans_.erase(key);
      throw;
    }
  }
  return *slot;
}

void Trainer::reserve_arena(int64_t bytes) {
  if (update_ != nullptr) bytes = std::max(bytes, update_->plan.arena_bytes);
  if (bytes <= arena_.bytes) return;
  arena_ = {};
  try {
    arena_ = backend_.allocate(bytes);
  } catch (...) {
    // what there was is gone: the next step makes its plan anew
    plans_.clear();
    throw;
  }
  for (auto& [key, plan] : plans_) {
    if (plan != nullptr) plan->executable->bind_arena(arena_.data.get());
  }
  if (update_ != nullptr) update_->executable->bind_arena(arena_.data.get());
}

void Trainer::run(Compiled& plan, const std::vector<const void*>& inputs, double* results) {
  for (size_t i = 0; i < inputs.size(); ++i) plan.executable->bind_input(i, inputs[i]);
  if (!scales_.empty()) plan.executable->bind_input(inputs.size(), scales_.data());
  plan.executable->run(state_);
  for (size_t i = 0; i < plan.results.size(); ++i) {
    results[i] = plan.dtypes[i] == DType::kInt32
                     ? static_cast<double>(std::bit_cast<int32_t>(plan.results[i]))
                     : static_cast<double>(plan.results[i]);
  }
}

size_t Trainer::results_of(int64_t batch, size_t which) const {
  int64_t numbers = 0;
  for (const ResultSize& size : graphs_[which]->results)
    numbers = checked_add(numbers, size.at(batch));
  return static_cast<size_t>(numbers);
}

void Trainer::begin_part(double learning_rate, const MicroBatch& micro_batch) {
  if (!update_options_.apart && (!micro_batch.first || !micro_batch.last))
    fail(ErrorCode::kArgument, "expected a trainer that accumulates, received one that does not");
  if (micro_batch.first) {
    state_.part = 0;
    is_bad_ = is_bad_loss_ = false;
  }
  state_.step = progress_.step + 1 - progress_.skipped;
  state_.learning_rate = learning_rate * progress_.backoff;
  // each micro-batch, and the step behind one that was skipped, draws random numbers of its own
  constexpr uint64_t kGolden = 0x9E3779B97F4A7C15;
  constexpr uint64_t kSilver = 0x6A09E667F3BCC909;
  state_.seed = options_.seed + kGolden * state_.part + kSilver * progress_.skipped;
  state_.weight = static_cast<float>(micro_batch.weight);
  for (size_t i = 0; i < scales_.size(); ++i)
    scales_[i] = micro_batch.scales == nullptr ? 1.0F : static_cast<float>(micro_batch.scales[i]);
  state_.clip = 1.0F;
  state_.skip = 0;
  if (scales_loss()) state_.loss_scale = progress_.loss_scaler.scale;
}

void Trainer::reduce_and_update() {
  // Who has a NaN spreads it to all ranks by the mean, so that all of them skip the same steps.
  const ParameterLayout& layout = parameters_->layout();
  auto* sums = reinterpret_cast<float*>(gradients_.data.get() + layout.trainable_bytes);
  for (const Bucket& bucket : buckets_) options_.reducer->reduce(sums + bucket.first, bucket.count);
  if (is_bad_ && options_.reducer->ranks() == 1) {
    state_.skip = 1;
    // of a scaled loss, nobody has looked at the gradients
    if (scales_loss()) state_.gradient_norm = std::numeric_limits<float>::quiet_NaN();
    return;
  }
  update_->executable->run(state_);
}

void Trainer::train(int64_t batch, const std::vector<const void*>& inputs, double learning_rate,
                    double* results, MicroBatch micro_batch, size_t which,
                    const std::vector<const void*>* next) {
  const PlanKey key{Work::kTrain, batch, which};
  Compiled& plan = compiled(key);
  const Stopwatch stopwatch;
  if (next != nullptr && scales_.empty()) plan.executable->announce(*next);
  begin_part(learning_rate, micro_batch);
  run(plan, inputs, results);
  double* const own = results + plan.results.size();
  own[0] = own[1] = std::numeric_limits<double>::quiet_NaN();
  // where nothing counts, a loss may be a NaN that no gradient has
  const bool is_bad_loss = !std::isfinite(results[0]) && state_.weight != 0.0F;
  is_bad_loss_ = is_bad_loss_ || is_bad_loss;
  if (state_.weight == 0.0F) state_.skip = 0;
  // several ranks go by what all of them know, which is the mean of their gradients
  if (scales_loss() && is_bad_loss && is_of_policy()) state_.skip = 1;
  if (must_refuse()) refuse_step(key, inputs, results[0]);
  is_bad_ = is_bad_ || state_.skip != 0;
  if (!micro_batch.last) {
    ++state_.part;
    return;
  }
  if (update_options_.apart) {
    reduce_and_update();
    if (must_refuse()) refuse_step(key, inputs, results[0]);
  }
  state_.part = 0;
  ++progress_.step;
  own[0] = static_cast<double>(state_.gradient_norm);
  own[1] = state_.skip != 0 ? 0.0 : state_.learning_rate;
  const bool skipped = state_.skip != 0;
  if (skipped) {
    ++progress_.skipped;
    if (is_of_policy()) back_off();
  } else {
    recover();
  }
  if (scales_loss()) progress_.loss_scaler.update(skipped);
  plan.last_step_ms = stopwatch.milliseconds();
  latencies_.add(plan.last_step_ms);
}

void Trainer::forget_next() {
  for (auto& [key, plan] : plans_) plan->executable->forget();
}

void Trainer::sync() {
  if (backend_.shares_host_memory()) return;
  backend_.copy(parameters_->memory().data.get(), device_parameters_.data.get(),
                parameters_->layout().bytes, CopyKind::kToHost);
}

void Trainer::upload() {
  if (backend_.shares_host_memory()) return;
  backend_.copy(device_parameters_.data.get(), parameters_->memory().data.get(),
                parameters_->layout().bytes, CopyKind::kToDevice);
}

double Trainer::expected_step_ms(int64_t batch, size_t which) const noexcept {
  const auto found = plans_.find({Work::kTrain, batch, which});
  return found == plans_.end() ? std::numeric_limits<double>::infinity()
                               : found->second->last_step_ms;
}

void Trainer::evaluate(int64_t batch, const std::vector<const void*>& inputs, double* results,
                       size_t which) {
  std::fill(scales_.begin(), scales_.end(), 1.0F);
  run(compiled({Work::kEvaluate, batch, which}), inputs, results);
}

void Trainer::evaluate_averages(int64_t batch, const std::vector<const void*>& inputs,
                                double* results, size_t which) {
  if (averages_.data == nullptr)
    fail(ErrorCode::kArgument, "expected averages that have been copied, received none");
  std::fill(scales_.begin(), scales_.end(), 1.0F);
  run(compiled({Work::kEvaluateAverages, batch, which}), inputs, results);
}

void Trainer::divisors(int64_t batch, const std::vector<const void*>& inputs, double* results,
                       size_t which) {
  run(compiled({Work::kDivisors, batch, which}), inputs, results);
}

MemoryUse Trainer::memory_use(const Compiled* more) const {
  MemoryUse use;
  use.parameters = device_parameters_.bytes + averages_.bytes;
  use.gradients = gradients_.bytes;
  use.optimizer = optimizer_state_.bytes;
  use.activations = arena_.bytes;
  int64_t scratch = 0;
  const auto add = [&](const Compiled* plan) {
    // the one that is being made is in its place already, and has no executable yet
    if (plan == nullptr || plan->executable == nullptr) return;
    use.workspace += plan->executable->private_bytes();
    scratch = std::max(scratch, plan->executable->scratch_bytes());
  };
  add(update_.get());
  for (const auto& [key, plan] : plans_) add(plan.get());
  add(more);
  if (more != nullptr) use.activations = std::max(use.activations, more->plan.arena_bytes);
  use.workspace += scratch;
  return use;
}

void Trainer::check_memory(const Compiled& more) const {
  if (options_.memory_limit == 0) return;
  check_memory_limit(options_.memory_limit, memory_use().total(), memory_use(&more).total(),
                     backend_);
}

Profile Trainer::profile() const {
  Profile profile;
  profile.device = backend_.name();
  profile.memory = memory_use();
  int64_t longest = 0;
  for (const auto& [key, plan] : plans_) {
    // the full batch speaks for training, not the smaller one that ends an epoch; of several graphs
    // the one with most in a row
    const int64_t length = graphs_[key.which]->row_inputs;
    if (key.work != Work::kTrain || key.batch < profile.batch) continue;
    if (key.batch == profile.batch && length <= longest) continue;
    longest = length;
    profile.batch = key.batch;
    profile.flops = count_flops(plan->plan.graph);
    profile.kernels = plan->executable->kernels();
  }
  if (update_ != nullptr) {
    const std::vector<std::string> kernels = update_->executable->kernels();
    profile.kernels.insert(profile.kernels.end(), kernels.begin(), kernels.end());
  }
  std::vector<float> samples;
  latencies_.collect(samples);
  profile.p50_ms = percentile(samples, 0.50);
  profile.p99_ms = percentile(std::move(samples), 0.99);
  return profile;
}

}  // namespace tandem
