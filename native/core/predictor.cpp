#include "core/predictor.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

#include "core/byte_parameters.h"
#include "core/chains.h"
#include "core/fold.h"
#include "core/fuse.h"
#include "core/fuse_pools.h"
#include "core/memory_limit.h"
#include "core/precision.h"
#include "core/rounded_factors.h"
#include "core/row_flow.h"
#include "core/simplify.h"

namespace tandem {

struct Predictor::Session::Compiled {
  Plan plan;
  std::unique_ptr<Executable> executable;
  std::vector<int64_t> input_row_bytes;  ///< what a row advances by; 0 for inputs of a fixed shape
  std::vector<int64_t> output_row_bytes;
  std::vector<bool> state;  ///< by input: memory of the device, which nodes change
  int64_t used = 0;         ///< at which change of plan of the session
};

namespace {

Graph inference_graph(const GraphDescription& description, int64_t batch, Precision precision,
                      const Backend& backend) {
  Graph graph = instantiate(description, batch, false);
  share_equal_nodes(graph);
  fuse(graph, backend);
  quantize(graph, backend.supports(Op::addBytes) && backend.supports(Op::averagePoolBytes));
  if (backend.supports(Op::pooledConv)) fuse_pools(graph);
  if (backend.supports(Op::chain)) fuse_chains(graph);
  use_precision(graph, precision, backend);
  share_rounded_factors(graph, {}, backend, true);
  return graph;
}

/// Folds what can be known before the first run into the parameters, which then are a copy.
void fold(HostParameters& parameters, std::vector<GraphDescription>& graphs) {
  const std::vector<NodeDescription>& nodes = graphs.front().nodes;
  const bool has_norms = std::any_of(nodes.begin(), nodes.end(), [](const NodeDescription& node) {
    return node.op == "batchNorm";
  });
  const std::byte* const before = parameters.memory.data.get();
  if (has_norms) {
    Memory copy = cpu_backend().allocate(parameters.layout.bytes);
    std::memcpy(copy.data.get(), before, static_cast<size_t>(parameters.layout.bytes));
    fold_norms(graphs, parameters.layout, copy.data.get());
    parameters.memory = std::move(copy);
  }
  fold_constants(graphs, parameters.layout, parameters.memory);
  if (parameters.memory.data.get() == before || parameters.file == nullptr) return;
  parameters.file->check();
  parameters.file = nullptr;
}

std::vector<GraphDescription> matching(const ParameterStore& parameters, GraphDescription graph) {
  parameters.check_matches(graph);
  std::vector<GraphDescription> graphs;
  graphs.push_back(std::move(graph));
  return graphs;
}

int64_t bytes_of(const ParameterDescription& parameter) {
  return byte_size(stored_tensor(parameter));
}

/// Where a parameter of so many bytes lies behind others. Short ones do not get a cache line of
/// their own: in a model of some kilobytes that would be a good part of it.
int64_t place_behind(int64_t end, int64_t bytes) {
  constexpr int64_t kShort = 1024, kVector = 16;
  return bytes < kShort ? (end + kVector - 1) / kVector * kVector : align_up(end);
}

bool has_shapes(const GraphDescription& graph, int64_t rows) {
  try {
    instantiate(graph, rows, false);
    return true;
  } catch (const Error&) {
    return false;
  }
}

/// The least and the largest number of rows up to `most` that a graph has shapes at: one that
/// relates rows may take pairs of them alone. Where there are none, or far between, a number that
/// it refuses.
std::array<int64_t, 2> extreme_rows(const GraphDescription& graph, bool relates, int64_t most) {
  if (!has_free_batch(graph)) return {1, 1};
  if (!relates) return {1, most};
  constexpr int64_t kTries = 4096;
  std::array<int64_t, 2> rows{1, most};
  auto& [least, largest] = rows;
  while (least < std::min(most, kTries) && !has_shapes(graph, least)) ++least;
  while (largest > std::max(least, most - kTries) && !has_shapes(graph, largest)) --largest;
  return rows;
}

/// Calls longer than the largest plan are cut along axis 0, which must be the batch everywhere, and
/// no row may depend on others.
void check_rows(const Graph& graph, int64_t batch, std::optional<Op> relating) {
  for (const ValueId id : graph.outputs) {
    const Tensor& tensor = graph.tensor(id);
    if (tensor.rank == 0 || tensor.dims[0] != batch) {
      fail(ErrorCode::kShape,
           "expected at most `maxBatch` rows where an output has no batch dimension, received "
           "output " +
               to_string(tensor));
    }
  }
  if (relating) {
    fail(ErrorCode::kShape,
         "expected at most `maxBatch` rows where rows depend on each other, as in " +
             std::string(name(*relating)) + ", received more than " + std::to_string(batch));
  }
}

}  // namespace

Predictor::Predictor(const ParameterStore& parameters, GraphDescription graph, int threads,
                     int64_t max_batch, const Backend& backend, Precision precision,
                     int64_t memory_limit)
    : Predictor({parameters.memory(), parameters.layout(), nullptr},
                matching(parameters, std::move(graph)), threads, max_batch, backend, precision,
                memory_limit) {}

Predictor::Predictor(HostParameters parameters, std::vector<GraphDescription> graphs, int threads,
                     int64_t max_batch, const Backend& backend, Precision precision,
                     int64_t memory_limit)
    : graphs_(std::move(graphs)),
      backend_(backend),
      precision_(precision),
      threads_(threads),
      max_batch_(max_batch),
      memory_limit_(memory_limit),
      frozen_(backend.make_frozen_weights()) {
  if (max_batch < 1)
    fail(ErrorCode::kArgument,
         "expected `maxBatch` of 1 or more, received " + std::to_string(max_batch));
  if (!backend.shares_host_memory()) expand_bytes(parameters, graphs_);
  fold(parameters, graphs_);
  layout_ = parameters.layout;
  if (backend.shares_host_memory()) {
    parameters_ = parameters.memory;
  } else {
    check_memory(layout_.bytes);
    parameters_ = backend.allocate(layout_.bytes);
    backend.copy(parameters_.data.get(), parameters.memory.data.get(), layout_.bytes,
                 CopyKind::kToDevice);
  }
  keep_parameters(pack_parameters(), parameters);
  check_memory(0);
  if (parameters.file != nullptr) parameters.file->check();
}

Predictor::~Predictor() = default;

/// Compiles the smallest and the largest plan of each graph, which packs all that is ever packed;
/// returns what kernels read in the plain layout. Throws ERR_SHAPE for a graph that no run of up to
/// `maxBatch` rows fits.
std::vector<bool> Predictor::pack_parameters() {
  std::vector<bool> read(graphs_.front().parameters.size(), false);
  for (const GraphDescription& graph : graphs_) {
    relating_.push_back(op_relating_rows(graph));
    const auto [least, largest] = extreme_rows(graph, relating_.back().has_value(), max_batch_);
    least_rows_.push_back(least);
    for (const int64_t batch : {least, largest}) {
      const Plan plan = make_plan(inference_graph(graph, batch, precision_, backend_), layout_, {},
                                  backend_, true);
      const auto probe = backend_.compile(
          {plan, {parameters_.data.get(), nullptr, nullptr}, threads_, frozen_.get(), false, true});
      const std::vector<bool> plain = probe->plain_parameters();
      for (size_t i = 0; i < read.size(); ++i) read[i] = read[i] || plain[i];
      if (largest == least) break;
    }
  }
  return read;
}

/// Keeps only what kernels read in the plain layout; the rest lives in `frozen_`. Large weights of
/// a file are read where it is mapped: every process that has it shares that memory.
void Predictor::keep_parameters(const std::vector<bool>& read, const HostParameters& host) {
  constexpr int64_t kWorthSharing = int64_t{1} << 20;
  const std::vector<ParameterDescription>& parameters = graphs_.front().parameters;
  ParameterLayout kept;
  kept.offsets.assign(read.size(), -1);
  for (size_t i = 0; i < read.size(); ++i) {
    if (!read[i]) continue;
    const int64_t bytes = bytes_of(parameters[i]);
    kept.offsets[i] = place_behind(kept.bytes, bytes);
    kept.bytes = kept.offsets[i] + bytes;
  }
  const bool is_mapped = host.file != nullptr && parameters_.data == host.memory.data;
  if (is_mapped && kept.bytes >= kWorthSharing) {
    for (size_t i = 0; i < read.size(); ++i) {
      if (!read[i])
        host.file->forget(parameters_.data.get() + layout_.offsets[i], bytes_of(parameters[i]));
    }
    parameters_.bytes = kept.bytes;
    file_ = host.file;
    return;
  }
  Memory memory = backend_.allocate(kept.bytes);
  for (size_t i = 0; i < read.size(); ++i) {
    if (!read[i]) continue;
    backend_.copy(memory.data.get() + kept.offsets[i], parameters_.data.get() + layout_.offsets[i],
                  bytes_of(parameters[i]), CopyKind::kWithinDevice);
  }
  layout_ = std::move(kept);
  parameters_ = std::move(memory);
}

Predictor::Shapes Predictor::shapes(int64_t rows, size_t which) const {
  const Graph graph = instantiate(graphs_[which], rows, false);
  Shapes shapes;
  for (const ValueId id : graph.inputs) shapes.inputs.push_back(graph.tensor(id));
  for (const ValueId id : graph.outputs) shapes.outputs.push_back(graph.tensor(id));
  return shapes;
}

MemoryUse Predictor::memory_use(const Executable* more) const {
  MemoryUse use;
  use.parameters = parameters_.bytes + frozen_->bytes();
  int64_t scratch = 0;
  const auto add = [&](const Executable& executable) {
    use.workspace += executable.private_bytes();
    scratch = std::max(scratch, executable.scratch_bytes());
  };
  for (const Session* session : sessions_) {
    use.activations += session->arena_.bytes;
    for (const auto& [batch, plan] : session->plans_) add(*plan->executable);
  }
  if (more != nullptr) add(*more);
  use.workspace += scratch;
  use.activations += held_buffers_;
  return use;
}

void Predictor::check_memory(int64_t bytes, const Executable* executable) const {
  if (memory_limit_ == 0) return;
  const std::lock_guard lock(profile_mutex_);
  check_memory_limit(memory_limit_, checked_add(memory_use().total(), held_state_),
                     checked_add(checked_add(memory_use(executable).total(), held_state_), bytes),
                     backend_);
}

struct Predictor::Held {
  Predictor& owner;
  int64_t buffers = 0;
  int64_t state = 0;
  explicit Held(Predictor& predictor) : owner(predictor) {}
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;
  ~Held() {
    const std::lock_guard lock(owner.profile_mutex_);
    owner.held_buffers_ -= buffers;
    owner.held_state_ -= state;
  }
};

std::shared_ptr<const void> Predictor::hold(int64_t buffers, int64_t state) {
  if (!backend_.shares_host_memory()) buffers = 0;
  const auto held = std::make_shared<Held>(*this);  // before the locks, one of which its end takes
  const std::lock_guard granting(mutex_);           // what a plan has been granted stays free
  check_memory(checked_add(buffers, state));
  const std::lock_guard lock(profile_mutex_);
  held_buffers_ += held->buffers = buffers;
  held_state_ += held->state = state;
  return held;
}

Profile Predictor::profile() const {
  Profile profile;
  profile.device = backend_.name();
  size_t which = graphs_.size();  // the kernels are of: the first graph that has run
  std::vector<float> samples;
  std::unique_lock lock(profile_mutex_);
  profile.memory = memory_use();
  for (const Session* session : sessions_) {
    session->latencies_.collect(samples);
    if (!session->is_named_) continue;
    for (const auto& [batch, plan] : session->plans_) {
      const bool before = session->which_ < which;
      if (before || (batch >= profile.batch && session->which_ == which)) {
        which = session->which_;
        profile.batch = batch;
        profile.kernels = plan->executable->kernels();
      }
    }
  }
  lock.unlock();
  if (which == graphs_.size()) {
    which = 0;
    profile.batch = least_rows_.front();
  }
  profile.flops = count_flops(inference_graph(graphs_[which], profile.batch, precision_, backend_));
  profile.p50_ms = percentile(samples, 0.50);
  profile.p99_ms = percentile(std::move(samples), 0.99);
  return profile;
}

std::unique_ptr<Predictor::Session> Predictor::Session::for_joined_calls(Predictor& owner,
                                                                         size_t which, bool alone) {
  return std::unique_ptr<Session>(new Session(owner, which, alone ? 1 : owner.threads_, false));
}

Predictor::Session::Session(Predictor& owner, size_t which, int threads, bool is_named)
    : owner_(owner),
      which_(which),
      threads_(threads),
      is_named_(is_named),
      fixed_batch_(!has_free_batch(owner.graphs_[which])) {
  const std::lock_guard lock(owner_.profile_mutex_);
  owner_.sessions_.push_back(this);
}

Predictor::Session::~Session() {
  const std::lock_guard lock(owner_.profile_mutex_);
  std::erase(owner_.sessions_, this);
}

Predictor::Session::Compiled& Predictor::Session::compiled(int64_t batch) {
  if (batch == latest_batch_) return *latest_;
  const auto found = plans_.find(batch);
  if (found != plans_.end()) return use(batch, *found->second);
  const std::lock_guard compiling(owner_.mutex_);
  forget_oldest_plan();
  auto compiled = std::make_unique<Compiled>();
  compiled->plan =
      make_plan(inference_graph(this->graph(), batch, owner_.precision_, owner_.backend_),
                owner_.layout_, {}, owner_.backend_, true);
  const int64_t growth = std::max<int64_t>(compiled->plan.arena_bytes - arena_.bytes, 0);
  owner_.check_memory(growth);
  compiled->executable = owner_.backend_.compile({compiled->plan,
                                                  {owner_.parameters_.data.get(), nullptr, nullptr},
                                                  threads_,
                                                  owner_.frozen_.get(),
                                                  false,
                                                  true});
  const Graph& graph = compiled->plan.graph;
  compiled->state = graph.changed_inputs();
  for (size_t i = 0; i < graph.inputs.size(); ++i) {
    const Shape& shape = this->graph().inputs[i].shape;
    const bool advances = !shape.empty() && shape[0] == -1;
    const int64_t bytes = byte_size(graph.tensor(graph.inputs[i]));
    compiled->input_row_bytes.push_back(advances ? bytes / batch : 0);
  }
  for (const ValueId id : graph.outputs) {
    compiled->output_row_bytes.push_back(byte_size(graph.tensor(id)) / batch);
  }
  owner_.check_memory(growth, compiled->executable.get());
  if (growth > 0) grow_arena(compiled->plan.arena_bytes);
  compiled->executable->bind_arena(arena_.data.get());
  const std::lock_guard lock(owner_.profile_mutex_);
  return use(batch, *(plans_[batch] = std::move(compiled)));
}

void Predictor::Session::grow_arena(int64_t bytes) {
  const auto replace = [this](Memory memory) {
    const std::lock_guard lock(owner_.profile_mutex_);
    std::swap(arena_, memory);
  };
  replace({});
  try {
    replace(owner_.backend_.allocate(bytes));
  } catch (...) {
    const std::lock_guard lock(owner_.profile_mutex_);
    // what there was is gone: the next run makes its plan anew
    plans_.clear();
    latest_ = nullptr;
    latest_batch_ = -1;
    throw;
  }
  for (auto& [size, plan] : plans_) plan->executable->bind_arena(arena_.data.get());
}

/// Callers whose every call has another number of rows must not collect plans.
void Predictor::Session::forget_oldest_plan() {
  constexpr size_t kMaxPlans = 32;
  if (plans_.size() < kMaxPlans || bound_ != nullptr) return;
  const std::lock_guard lock(owner_.profile_mutex_);
  plans_.erase(std::min_element(plans_.begin(), plans_.end(), [](const auto& a, const auto& b) {
    return a.second->used < b.second->used;
  }));
  latest_batch_ = -1;
}

int64_t Predictor::joinable_rows(size_t which) const {
  if (memory_limit_ != 0) return 1;
  for (const InputDescription& input : graphs_[which].inputs) {
    if (input.shape.empty() || input.shape[0] != -1) return 1;
  }
  if (graphs_[which].inputs.empty()) return 1;
  // A reshape may make rows of other than the batch's, which look like these at just one size.
  if (relates_rows(which)) return 1;
  constexpr int64_t kSome = 2;
  const Graph graph = inference_graph(graphs_[which], kSome, precision_, backend_);
  return std::min(backend_.alike_rows(graph), max_batch_);
}

Predictor::Session::Compiled& Predictor::Session::use(int64_t batch, Compiled& plan) {
  plan.used = ++uses_;
  latest_batch_ = batch;
  latest_ = &plan;
  return plan;
}

void Predictor::Session::bind_input(Compiled& plan, size_t index, const void* data) {
  if (!plan.state[index]) return plan.executable->bind_input(index, data);
  // whoever hands over state owns it and expects that it changes
  plan.executable->bind_state(index, static_cast<std::byte*>(const_cast<void*>(data)));
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
    const int64_t batch = fixed_batch_ ? rows : std::min(rows - done, owner_.max_batch_);
    Compiled& plan = compiled(fixed_batch_ ? 1 : batch);
    if (batch < rows && !may_cut_) {
      check_rows(plan.plan.graph, batch, owner_.relates_rows(which_));
      may_cut_ = true;
    }
    for (size_t i = 0; i < inputs.size(); ++i) {
      const int64_t offset = plan.input_row_bytes[i] * done;
      bind_input(plan, i, static_cast<const std::byte*>(inputs[i]) + offset);
    }
    for (size_t i = 0; i < outputs.size(); ++i) {
      const int64_t offset = plan.output_row_bytes[i] * done;
      plan.executable->bind_output(i, static_cast<std::byte*>(outputs[i]) + offset);
    }
    plan.executable->run(state_);
    done += batch;
  }
  owner_.check_file();
}

void Predictor::Session::bind(int64_t rows, const std::vector<const void*>& inputs,
                              const std::vector<void*>& outputs) {
  Compiled& plan = compiled(fixed_batch_ ? 1 : rows);
  for (size_t i = 0; i < inputs.size(); ++i) bind_input(plan, i, inputs[i]);
  for (size_t i = 0; i < outputs.size(); ++i) plan.executable->bind_output(i, outputs[i]);
  bound_ = &plan;
}

void Predictor::Session::run_bound() {
  latencies_.time([this] { bound_->executable->run(state_); });
  owner_.check_file();
}

}  // namespace tandem
