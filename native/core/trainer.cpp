#include "core/trainer.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "core/autodiff.h"
#include "core/fuse.h"
#include "core/update.h"

namespace tandem {

struct Trainer::Compiled {
  Plan plan;
  std::unique_ptr<Executable> executable;
  std::vector<float> results;  ///< the graph's outputs, one after the other
  std::vector<DType> dtypes;   ///< of each element: those of int32 lie there as they are
  double last_step_ms = std::numeric_limits<double>::infinity();
};

namespace {

/// The sign of a NaN depends on the processor.
std::string to_text(double value) { return std::isnan(value) ? "NaN" : std::to_string(value); }

struct ResultSize {
  int64_t fixed = 0;
  int64_t per_row = 0;
};

/// Elements of the outputs as a fixed number and so many a row. Throws ERR_SHAPE for others, and
/// for a loss that is not one number.
ResultSize measure_outputs(const GraphDescription& description) {
  // at two sizes of a batch: what differs comes with the rows
  const Graph two = instantiate(description, 2, true);
  const Graph four = instantiate(description, 4, true);
  ResultSize size;
  for (size_t i = 0; i < two.outputs.size(); ++i) {
    const Tensor& small = two.tensor(two.outputs[i]);
    const Tensor& large = four.tensor(four.outputs[i]);
    if (i == 0 && (small.numel != 1 || large.numel != 1 || small.dtype != DType::kFloat32)) {
      fail(ErrorCode::kShape,
           "expected one number as the loss, received shape " + to_string(small));
    }
    const int64_t more = large.numel - small.numel;
    const int64_t fixed = small.numel - more;
    if (more % 2 != 0 || more < 0 || fixed < 0) {
      fail(ErrorCode::kShape,
           "expected as many elements of a metric for each row, received shape " +
               to_string(small) + " for 2 rows and " + to_string(large) + " for 4");
    }
    size.fixed = checked_add(size.fixed, fixed);
    size.per_row = checked_add(size.per_row, more / 2);
  }
  return size;
}

UpdateOptions update_options(const TrainerOptions& options, const Backend& backend) {
  return {options.optimizer, options.optimizer_attributes, options.max_gradient_norm,
          options.check_numerics, backend.updates_on_the_way()};
}

/// Forward, backward and optimizer as one graph; `pins` says which values are gradients.
Graph training_graph(const GraphDescription& description, int64_t batch,
                     const ParameterLayout& layout, const UpdateOptions& options,
                     std::vector<Pin>& pins) {
  Graph graph = instantiate(description, batch, true);
  std::vector<ValueId> wrt;
  for (size_t i = 0; i < description.parameters.size(); ++i) {
    if (description.parameters[i].trainable) wrt.push_back(graph.parameters[i]);
  }
  const ValueId loss = graph.outputs[0];
  ValueId one = graph.scalar(1.0F);
  if (graph.tensor(loss).rank != 0)
    one = broadcast_to({graph, one}, shape_of(graph.tensor(loss))).id();
  const std::vector<ValueId> gradients = add_gradients(graph, {{loss, one}}, wrt);
  size_t next = 0;
  for (size_t i = 0; i < description.parameters.size(); ++i) {
    if (!description.parameters[i].trainable) continue;
    const ValueId gradient = gradients[next++];
    if (gradient != kNoValue)
      pins.push_back({gradient, {Space::kGradients, static_cast<int32_t>(i), layout.offsets[i]}});
  }
  // a gradient is read by the optimizer through its arena, so nothing in the graph may drop it
  std::vector<ValueId> outputs = graph.outputs;
  for (const Pin& pin : pins) graph.outputs.push_back(pin.value);
  fuse(graph);
  graph.outputs = std::move(outputs);
  separate_pins(graph, pins);

  add_updates(graph, pins, loss, description.parameters, layout, options);
  return graph;
}

}  // namespace

Trainer::Trainer(std::shared_ptr<ParameterStore> parameters, GraphDescription graph,
                 const TrainerOptions& options, const Backend& backend)
    : parameters_(std::move(parameters)),
      graph_(std::move(graph)),
      options_(options),
      backend_(backend) {
  parameters_->check_matches(graph_);
  const auto [fixed, per_row] = measure_outputs(graph_);
  fixed_results_ = fixed;
  row_results_ = per_row;
  const ParameterLayout& layout = parameters_->layout();
  if (!backend_.shares_host_memory()) {
    // a device without a kernel that training needs is refused here, not at the first step
    std::vector<Pin> pins;
    check_supported(training_graph(graph_, 2, layout, update_options(options_, backend_), pins),
                    backend_);
  }
  device_parameters_ = parameters_->resident(backend_);
  gradients_ = backend_.allocate(layout.trainable_bytes);
  const int64_t floats =
      optimizer_floats(graph_.parameters, layout, update_options(options_, backend_));
  optimizer_state_ = backend_.allocate(checked_mul(floats, int64_t{sizeof(float)}));
  state_.seed = options_.seed;
}

Trainer::~Trainer() = default;

std::unique_ptr<Trainer::Compiled> Trainer::compile(int64_t batch, bool training) {
  const ParameterLayout& layout = parameters_->layout();
  auto compiled = std::make_unique<Compiled>();
  std::vector<Pin> pins;
  Graph graph;
  if (training) {
    graph = training_graph(graph_, batch, layout, update_options(options_, backend_), pins);
  } else {
    graph = instantiate(graph_, batch, false);
    fuse(graph);
  }
  if (options_.precision == Precision::kBf16Mixed) use_bf16(graph);
  compiled->plan = make_plan(std::move(graph), layout, std::move(pins), backend_);
  const Arenas arenas{device_parameters_.data.get(), gradients_.data.get(),
                      optimizer_state_.data.get()};
  compiled->executable = backend_.compile({compiled->plan, arenas, options_.threads, nullptr});
  compiled->results.resize(results_of(batch));
  const Graph& built = compiled->plan.graph;
  size_t offset = 0;
  for (size_t i = 0; i < graph_.outputs.size(); ++i) {
    const Tensor& tensor = built.tensor(built.outputs[i]);
    const size_t end = offset + static_cast<size_t>(tensor.numel);
    if (end > compiled->results.size())
      fail(ErrorCode::kShape,
           "expected outputs linear in the batch, received " + to_string(tensor));
    compiled->executable->bind_output(i, compiled->results.data() + offset);
    compiled->dtypes.resize(end, tensor.dtype);
    offset = end;
  }
  return compiled;
}

Trainer::Compiled& Trainer::compiled(int64_t batch, bool training) {
  const int64_t key = training ? batch : -batch;
  std::unique_ptr<Compiled>& slot = plans_[key];
  if (slot == nullptr) {
    // plans are small, but a caller whose every batch has a size of its own must not collect them
    constexpr size_t kMaxPlans = 64;
    if (plans_.size() > kMaxPlans) {
      plans_.clear();
      return compiled(batch, training);
    }
    try {
      std::unique_ptr<Compiled> fresh = compile(batch, training);
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
  if (bytes <= arena_.bytes) return;
  arena_ = {};
  arena_ = backend_.allocate(bytes);
  for (auto& [batch, plan] : plans_) {
    if (plan != nullptr) plan->executable->bind_arena(arena_.data.get());
  }
}

void Trainer::run(Compiled& plan, const std::vector<const void*>& inputs, double* results) {
  for (size_t i = 0; i < inputs.size(); ++i) plan.executable->bind_input(i, inputs[i]);
  plan.executable->run(state_);
  for (size_t i = 0; i < plan.results.size(); ++i) {
    results[i] = plan.dtypes[i] == DType::kInt32
                     ? static_cast<double>(std::bit_cast<int32_t>(plan.results[i]))
                     : static_cast<double>(plan.results[i]);
  }
}

size_t Trainer::results_of(int64_t batch) const {
  return static_cast<size_t>(checked_add(fixed_results_, checked_mul(row_results_, batch)));
}

void Trainer::train(int64_t batch, const std::vector<const void*>& inputs, double learning_rate,
                    double* results) {
  Compiled& plan = compiled(batch, true);
  const Stopwatch stopwatch;
  state_.learning_rate = learning_rate;
  state_.clip = 1.0F;
  state_.skip = 0;
  ++state_.step;
  run(plan, inputs, results);
  results[plan.results.size()] = static_cast<double>(state_.gradient_norm);
  if (state_.skip != 0) {
    const uint64_t step = state_.step--;
    fail(ErrorCode::kNumeric, "expected a finite loss and finite gradients at step " +
                                  std::to_string(step) + ", received loss " + to_text(results[0]) +
                                  " and gradient norm " +
                                  to_text(static_cast<double>(state_.gradient_norm)) +
                                  "; parameters are as before that step");
  }
  plan.last_step_ms = stopwatch.milliseconds();
  latencies_.add(plan.last_step_ms);
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

double Trainer::expected_step_ms(int64_t batch) const noexcept {
  const auto found = plans_.find(batch);
  return found == plans_.end() ? std::numeric_limits<double>::infinity()
                               : found->second->last_step_ms;
}

void Trainer::evaluate(int64_t batch, const std::vector<const void*>& inputs, double* results) {
  run(compiled(batch, false), inputs, results);
}

Profile Trainer::profile() const {
  Profile profile;
  profile.device = backend_.name();
  profile.memory.parameters = device_parameters_.bytes;
  profile.memory.gradients = gradients_.bytes;
  profile.memory.optimizer = optimizer_state_.bytes;
  profile.memory.activations = arena_.bytes;
  int64_t scratch = 0;
  for (const auto& [batch, plan] : plans_) {
    profile.memory.workspace += plan->executable->private_bytes();
    scratch = std::max(scratch, plan->executable->scratch_bytes());
    // the full batch speaks for training, not the smaller one that ends an epoch
    if (batch <= profile.batch) continue;
    profile.batch = batch;
    profile.flops = count_flops(plan->plan.graph);
    profile.kernels = plan->executable->kernels();
  }
  profile.memory.workspace += scratch;
  std::vector<float> samples;
  latencies_.collect(samples);
  profile.p50_ms = percentile(samples, 0.50);
  profile.p99_ms = percentile(std::move(samples), 0.99);
  return profile;
}

}  // namespace tandem
