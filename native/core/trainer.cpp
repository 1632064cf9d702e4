#include "core/trainer.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/autodiff.h"
#include "core/fuse.h"
#include "core/update.h"

namespace tandem {

struct Trainer::Compiled {
  Plan plan;
  std::unique_ptr<Executable> executable;
  std::vector<float> results;  ///< the graph's outputs, one number each
  double last_step_ms = std::numeric_limits<double>::infinity();
};

namespace {

/// The sign of a NaN depends on the processor.
std::string to_text(double value) { return std::isnan(value) ? "NaN" : std::to_string(value); }

void check_outputs(const GraphDescription& description) {
  // 2 rows: a batch of any size must give numbers
  const Graph graph = instantiate(description, 2, true);
  for (size_t i = 0; i < graph.outputs.size(); ++i) {
    const Tensor& tensor = graph.tensor(graph.outputs[i]);
    if (tensor.numel != 1 || tensor.dtype != DType::kFloat32) {
      fail(ErrorCode::kShape, std::string("expected one number as ") +
                                  (i == 0 ? "the loss" : "a metric") + ", received shape " +
                                  to_string(tensor));
    }
  }
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
  check_outputs(graph_);
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
  compiled->results.resize(graph_.outputs.size());
  for (size_t i = 0; i < compiled->results.size(); ++i)
    compiled->executable->bind_output(i, &compiled->results[i]);
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
  for (size_t i = 0; i < plan.results.size(); ++i)
    results[i] = static_cast<double>(plan.results[i]);
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
