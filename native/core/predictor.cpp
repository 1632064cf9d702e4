#include "core/predictor.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "core/fold.h"
#include "core/fuse.h"
#include "core/precision.h"
#include "core/simplify.h"

namespace tandem {

struct Predictor::Session::Compiled {
  Plan plan;
  std::unique_ptr<Executable> executable;
  std::vector<int64_t> input_row_bytes;  ///< what a row advances by; 0 for inputs of a fixed shape
  std::vector<int64_t> output_row_bytes;
};

namespace {

Graph inference_graph(const GraphDescription& description, int64_t batch, Precision precision) {
  Graph graph = instantiate(description, batch, false);
  share_equal_nodes(graph);
  fuse(graph);
  quantize(graph);
  if (precision == Precision::kBf16Mixed) use_bf16(graph);
  return graph;
}

/// The parameters in the host's memory, after all that can has been folded into them.
Memory folded(const ParameterStore& parameters, GraphDescription& graph) {
  const bool folds =
      std::any_of(graph.nodes.begin(), graph.nodes.end(),
                  [](const NodeDescription& node) { return node.op == "batchNorm"; });
  if (!folds) return parameters.memory();
  Memory copy = cpu_backend().allocate(parameters.layout().bytes);
  std::memcpy(copy.data.get(), parameters.memory().data.get(),
              static_cast<size_t>(parameters.layout().bytes));
  fold_norms(graph, parameters.layout(), copy.data.get());
  return copy;
}

/// Calls longer than the largest plan are cut along axis 0, which must be the batch everywhere.
void check_rows(const Graph& graph, int64_t batch) {
  for (const ValueId id : graph.outputs) {
    const Tensor& tensor = graph.tensor(id);
    if (tensor.rank == 0 || tensor.dims[0] != batch) {
      fail(ErrorCode::kShape,
           "expected at most `maxBatch` rows where an output has no batch dimension, received "
           "output " +
               to_string(tensor));
    }
  }
}

}  // namespace

Predictor::Predictor(const ParameterStore& parameters, GraphDescription graph, int threads,
                     int64_t max_batch, const Backend& backend, Precision precision)
    : graph_(std::move(graph)),
      layout_(parameters.layout()),
      backend_(backend),
      precision_(precision),
      threads_(threads),
      fixed_batch_(!has_free_batch(graph_)),
      max_batch_(fixed_batch_ ? 1 : max_batch),
      frozen_(backend.make_frozen_weights()) {
  parameters.check_matches(graph_);
  if (max_batch < 1)
    fail(ErrorCode::kArgument,
         "expected `maxBatch` of 1 or more, received " + std::to_string(max_batch));
  Memory host = folded(parameters, graph_);
  fold_constants(graph_, layout_, host);
  parameters_ = backend.allocate(layout_.bytes);
  backend_.copy(parameters_.data.get(), host.data.get(), layout_.bytes, CopyKind::kToDevice);
  std::vector<bool> read(graph_.parameters.size(), false);
  for (const int64_t batch : {int64_t{1}, max_batch_}) {
    const Plan plan =
        make_plan(inference_graph(graph_, batch, precision_), layout_, {}, backend_, true);
    const auto probe = backend_.compile(
        {plan, {parameters_.data.get(), nullptr, nullptr}, threads_, frozen_.get()});
    const std::vector<bool> plain = probe->plain_parameters();
    for (size_t i = 0; i < read.size(); ++i) read[i] = read[i] || plain[i];
  }
  drop_unread_parameters(read);
}

Predictor::~Predictor() = default;

/// Keeps only what kernels read in the plain layout; the rest lives in `frozen_`.
void Predictor::drop_unread_parameters(const std::vector<bool>& read) {
  ParameterLayout kept;
  kept.offsets.assign(read.size(), -1);
  for (size_t i = 0; i < read.size(); ++i) {
    if (!read[i]) continue;
    kept.offsets[i] = kept.bytes;
    kept.bytes += align_up(byte_size(make_tensor(graph_.parameters[i].shape, DType::kFloat32)));
  }
  Memory memory = backend_.allocate(kept.bytes);
  for (size_t i = 0; i < read.size(); ++i) {
    if (!read[i]) continue;
    backend_.copy(memory.data.get() + kept.offsets[i], parameters_.data.get() + layout_.offsets[i],
                  byte_size(make_tensor(graph_.parameters[i].shape, DType::kFloat32)),
                  CopyKind::kWithinDevice);
  }
  layout_ = std::move(kept);
  parameters_ = std::move(memory);
}

Predictor::Shapes Predictor::shapes(int64_t rows) const {
  const Graph graph = instantiate(graph_, rows, false);
  Shapes shapes;
  for (const ValueId id : graph.inputs) shapes.inputs.push_back(graph.tensor(id));
  for (const ValueId id : graph.outputs) shapes.outputs.push_back(graph.tensor(id));
  return shapes;
}

Profile Predictor::profile() const {
  const std::lock_guard lock(mutex_);
  Profile profile;
  profile.device = backend_.name();
  profile.batch = 1;
  profile.memory.parameters = parameters_.bytes + frozen_->bytes();
  int64_t scratch = 0;
  std::vector<float> samples;
  for (const Session* session : sessions_) {
    session->latencies_.collect(samples);
    profile.memory.activations += session->arena_.bytes;
    for (const auto& [batch, plan] : session->plans_) {
      profile.memory.workspace += plan->executable->private_bytes();
      scratch = std::max(scratch, plan->executable->scratch_bytes());
      if (batch >= profile.batch) {
        profile.batch = batch;
        profile.kernels = plan->executable->kernels();
      }
    }
  }
  profile.memory.workspace += scratch;
  profile.flops = count_flops(inference_graph(graph_, profile.batch, precision_));
  profile.p50_ms = percentile(samples, 0.50);
  profile.p99_ms = percentile(std::move(samples), 0.99);
  return profile;
}

Predictor::Session::Session(Predictor& owner) : owner_(owner) {
  const std::lock_guard lock(owner_.mutex_);
  owner_.sessions_.push_back(this);
}

Predictor::Session::~Session() {
  const std::lock_guard lock(owner_.mutex_);
  std::erase(owner_.sessions_, this);
}

Predictor::Session::Compiled& Predictor::Session::compiled(int64_t batch) {
  if (batch == latest_batch_) return *latest_;
  const auto found = plans_.find(batch);
  if (found != plans_.end()) return use(batch, *found->second);
  const std::lock_guard lock(owner_.mutex_);
  // callers whose every call has another number of rows must not collect plans
  constexpr size_t kMaxPlans = 32;
  if (plans_.size() >= kMaxPlans && bound_ == nullptr) {
    plans_.clear();
    latest_batch_ = -1;
  }
  auto compiled = std::make_unique<Compiled>();
  compiled->plan = make_plan(inference_graph(owner_.graph_, batch, owner_.precision_),
                             owner_.layout_, {}, owner_.backend_, true);
  compiled->executable = owner_.backend_.compile({compiled->plan,
                                                  {owner_.parameters_.data.get(), nullptr, nullptr},
                                                  owner_.threads_,
                                                  owner_.frozen_.get()});
  const Graph& graph = compiled->plan.graph;
  for (size_t i = 0; i < graph.inputs.size(); ++i) {
    const Shape& shape = owner_.graph_.inputs[i].shape;
    const bool advances = !shape.empty() && shape[0] == -1;
    const int64_t bytes = byte_size(graph.tensor(graph.inputs[i]));
    compiled->input_row_bytes.push_back(advances ? bytes / batch : 0);
  }
  for (const ValueId id : graph.outputs) {
    compiled->output_row_bytes.push_back(byte_size(graph.tensor(id)) / batch);
  }
  if (compiled->plan.arena_bytes > arena_.bytes) {
    arena_ = {};
    arena_ = owner_.backend_.allocate(compiled->plan.arena_bytes);
    for (auto& [size, plan] : plans_) plan->executable->bind_arena(arena_.data.get());
  }
  compiled->executable->bind_arena(arena_.data.get());
  return use(batch, *(plans_[batch] = std::move(compiled)));
}

Predictor::Session::Compiled& Predictor::Session::use(int64_t batch, Compiled& plan) {
  latest_batch_ = batch;
  latest_ = &plan;
  return plan;
}

void Predictor::Session::run(int64_t rows, const std::vector<const void*>& inputs,
                             const std::vector<void*>& outputs, const std::atomic<bool>* halt) {
  if (rows != latest_rows_) {
    latencies_.expect_anew();
    latest_rows_ = rows;
  }
  latencies_.time([&] { run_rows(rows, inputs, outputs, halt); });
}

double Predictor::Session::expected_ms(int64_t rows) const noexcept {
  return rows == latest_rows_ ? latencies_.expected_ms() : std::numeric_limits<double>::infinity();
}

void Predictor::Session::run_rows(int64_t rows, const std::vector<const void*>& inputs,
                                  const std::vector<void*>& outputs,
                                  const std::atomic<bool>* halt) {
  for (int64_t done = 0; done < rows;) {
    if (halt != nullptr && *halt) fail(ErrorCode::kAborted, "the process or its thread ends");
    const int64_t batch = owner_.fixed_batch_ ? rows : std::min(rows - done, owner_.max_batch_);
    Compiled& plan = compiled(owner_.fixed_batch_ ? 1 : batch);
    if (batch < rows && done == 0) check_rows(plan.plan.graph, batch);
    for (size_t i = 0; i < inputs.size(); ++i) {
      const int64_t offset = plan.input_row_bytes[i] * done;
      plan.executable->bind_input(i, static_cast<const std::byte*>(inputs[i]) + offset);
    }
    for (size_t i = 0; i < outputs.size(); ++i) {
      const int64_t offset = plan.output_row_bytes[i] * done;
      plan.executable->bind_output(i, static_cast<std::byte*>(outputs[i]) + offset);
    }
    plan.executable->run(state_);
    done += batch;
  }
}

void Predictor::Session::bind(int64_t rows, const std::vector<const void*>& inputs,
                              const std::vector<void*>& outputs) {
  Compiled& plan = compiled(owner_.fixed_batch_ ? 1 : rows);
  for (size_t i = 0; i < inputs.size(); ++i) plan.executable->bind_input(i, inputs[i]);
  for (size_t i = 0; i < outputs.size(); ++i) plan.executable->bind_output(i, outputs[i]);
  bound_ = &plan;
}

void Predictor::Session::run_bound() {
  latencies_.time([this] { bound_->executable->run(state_); });
}

}  // namespace tandem
