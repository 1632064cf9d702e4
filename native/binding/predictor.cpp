#include "binding/predictor.h"

#include <cstring>

#include "binding/bound.h"
#include "binding/describe.h"
#include "binding/device.h"
#include "binding/mapped_file.h"
#include "binding/parameters.h"
#include "binding/results.h"
#include "binding/values.h"

namespace tandem::binding {
namespace {

void check_count(const Prediction& prediction, size_t received) {
  const size_t expected = prediction.input_count + prediction.output_count;
  if (received != expected) {
    fail_expected(ErrorCode::kArgument, std::to_string(expected) + " arrays (inputs, then outputs)",
                  "arrays", std::to_string(received));
  }
}

/// Where predictSync() reads input `i`: in place, or converted behind `used` bytes of the scratch.
const void* sync_input(Prediction& prediction, const Signature& signature, size_t i,
                       const ArrayView& view, size_t& used) {
  if (is_exactly(view, signature.entries[i].dtype)) return view.data;
  std::byte* const place = prediction.converted.data() + used;
  copy_elements(view, 0, view.length, signature.entries[i].dtype, place, prediction.name_of(i));
  used += static_cast<size_t>(align_up(static_cast<int64_t>(view.length * 4)));
  return place;
}

/// Room for every integer input at once, so that no block moves while another is in use.
void reserve_conversion(Prediction& prediction, const Signature& signature) {
  int64_t bytes = 0;
  for (size_t i = 0; i < prediction.input_count; ++i) {
    if (signature.entries[i].dtype == DType::kInt32) {
      bytes = checked_add(bytes, align_up(checked_mul(signature.entries[i].elements, 4)));
    }
  }
  prediction.converted.resize(static_cast<size_t>(bytes));
}

/// Puts the arrays behind the key and the rows into sync_inputs and sync_outputs. For one input and
/// one output in place it allocates nothing, and asks Node-API for two arrays.
const Signature& find_arrays(const Call& call, Prediction& prediction, int64_t rows) {
  constexpr size_t kFirstArray = 2;
  const napi_env env = call.env();
  check_count(prediction, call.count() < kFirstArray ? 0 : call.count() - kFirstArray);
  const Signature& signature = *prediction.signature(rows);
  size_t used = 0;
  for (size_t i = 0; i < signature.entries.size(); ++i) {
    const ArrayView view =
        view_array(env, call[kFirstArray + i], [&] { return prediction.name_of(i); });
    prediction.check_array(signature, i, view);
    if (i < prediction.input_count) {
      if (used == 0 && !is_exactly(view, signature.entries[i].dtype)) {
        reserve_conversion(prediction, signature);
      }
      prediction.sync_inputs[i] = sync_input(prediction, signature, i, view, used);
      continue;
    }
    if (call.addon().leases().overlaps(view.bytes())) {
      fail(ErrorCode::kBusy, "expected memory of its own for `" + prediction.name_of(i) +
                                 "`, received memory that a pending call writes");
    }
    prediction.sync_outputs[i - prediction.input_count] = view.data;
  }
  return signature;
}

/// Whether an output overlaps an input, so that it cannot be written in place. Two outputs must not
/// overlap.
bool overlaps_inputs(const Prediction& prediction, const Signature& signature) {
  const auto range_of = [&](size_t i) -> ByteRange {
    const void* const data = i < prediction.input_count
                                 ? prediction.sync_inputs[i]
                                 : prediction.sync_outputs[i - prediction.input_count];
    const auto* const begin = static_cast<const std::byte*>(data);
    return {begin, begin + signature.entries[i].elements * 4};
  };
  bool overlaps = false;
  for (size_t i = prediction.input_count; i < signature.entries.size(); ++i) {
    for (size_t k = 0; k < i; ++k) {
      if (!range_of(i).overlaps(range_of(k))) continue;
      if (k >= prediction.input_count) {
        fail_expected(ErrorCode::kArgument, "memory of its own", prediction.name_of(i),
                      "memory of `" + prediction.name_of(k) + "`");
      }
      overlaps = true;
    }
  }
  return overlaps;
}

/// Outputs become what the run gives once it is over, so that they may overlap inputs, and a run
/// that fails leaves them alone.
void run_aside(Prediction& prediction, const Signature& signature, Predictor::Session& session) {
  const size_t first = prediction.input_count;
  prediction.aside.resize(signature.bytes);
  for (size_t k = 0; k < prediction.output_count; ++k)
    prediction.aside_outputs[k] = prediction.aside.data() + signature.entries[first + k].offset;
  session.run(signature.rows, prediction.sync_inputs, prediction.aside_outputs);
  for (size_t k = 0; k < prediction.output_count; ++k) {
    const auto bytes = static_cast<size_t>(signature.entries[first + k].elements) * 4;
    if (bytes > 0) std::memcpy(prediction.sync_outputs[k], prediction.aside_outputs[k], bytes);
  }
}

void report_growth(Prediction& prediction, int64_t rows) {
  if (rows > prediction.reported_rows)
    prediction.report_memory(rows, prediction.predictor.profile().memory.total());
}

/// What a Predictor is made with.
struct LoadOptions {
  std::vector<GraphDescription> graphs;
  int64_t max_batch;
  int threads;
  DeviceOption device;
  std::string device_name;  ///< as it was given
  Precision precision;
  int64_t memory_limit;

  LoadOptions(const Call& call, size_t first) {
    const Napi::Object options = read_object({call.env(), call[first + 1]}, "options");
    graphs.push_back(read_graph({call.env(), call[first]}, "graph"));
    const Napi::Value more = options.Get("variants");
    if (!more.IsUndefined()) {
      for (napi_value graph : list_elements(call.env(), more, "options.variants"))
        graphs.push_back(read_graph({call.env(), graph}, "options.variants"));
    }
    max_batch = read_integer(options.Get("maxBatch"), "options.maxBatch", 1);
    threads = read_threads(options.Get("threads"), "options.threads");
    const Napi::Value name = options.Get("device");
    device = read_device(name, "options.device");
    precision = read_prediction_precision(options.Get("precision"), "options.precision");
    memory_limit = read_memory_limit(options.Get("memoryLimit"), "options.memoryLimit");
    if (name.IsString()) device_name = read_string(name, "options.device");
    for (const GraphDescription& graph : graphs) check_same_parameters(graph);
  }

  [[nodiscard]] LoadedPredictor load(const HostParameters& parameters) const {
    LoadedPredictor loaded;
    loaded.predictor = on_device(device, loaded.device_reason, [&](const Backend& backend) {
      return std::make_shared<Predictor>(parameters, graphs, threads, max_batch, backend, precision,
                                         memory_limit);
    });
    return loaded;
  }

 private:
  void check_same_parameters(const GraphDescription& graph) const {
    const std::vector<ParameterDescription>& first = graphs.front().parameters;
    bool same = graph.parameters.size() == first.size();
    for (size_t i = 0; same && i < first.size(); ++i)
      same = graph.parameters[i].shape == first[i].shape &&
             graph.parameters[i].is_bytes == first[i].is_bytes;
    if (!same) fail(ErrorCode::kArgument, "expected variants with the parameters of the graph");
  }
};

/// Packs the weights, which takes a tenth of a second for some hundred megabytes.
class LoadJob : public Job {
 public:
  LoadJob(Addon& addon, LoadOptions options) : addon_(addon), options_(std::move(options)) {}
  napi_value finish(napi_env env) override {
    auto prediction = std::make_shared<Prediction>(env, std::move(loaded_));
    return make_instance(env, addon_, addon_.new_predictor(),
                         std::make_unique<PredictorObject>(addon_, std::move(prediction)));
  }

 protected:
  Addon& addon_;  // outlives every job: its cleanup hook drops them
  LoadOptions options_;
  LoadedPredictor loaded_;
};

class LoadModelJob : public LoadJob {
 public:
  explicit LoadModelJob(const Call& call)
      : LoadJob(call.addon(), LoadOptions(call, 1)), arena_(parameters_argument(call, 0)) {
    arena_->store->check_matches(options_.graphs.front());
    if (arena_->users++ == 0) arena_->buffer.load();
  }
  ~LoadModelJob() override { --arena_->users; }
  void run(const std::atomic<bool>& /*halt*/) override {
    // Between two steps, if a Trainer is at work: half a step would be no model.
    loaded_ = arena_->gate.visit([this] {
      const ParameterStore& store = *arena_->store;
      return options_.load({store.memory(), store.layout(), nullptr});
    });
  }

 private:
  std::shared_ptr<ParameterArena> arena_;
};

class LoadFileJob : public LoadJob {
 public:
  explicit LoadFileJob(const Call& call)
      : LoadJob(call.addon(), LoadOptions(call, 3)),
        file_(
            static_cast<int>(read_integer({call.env(), call[0]}, "descriptor", 0, kMaxDescriptor))),
        positions_(read_integers({call.env(), call[1]}, "positions", 0)),
        key_(read_string({call.env(), call[2]}, "variant")) {
    key_ += '|' + file_.identity() + std::to_string(options_.max_batch) + '|' +
            std::to_string(options_.threads) + '|' +
            std::to_string(static_cast<int>(options_.precision)) + '|' +
            std::to_string(options_.memory_limit) + '|' + options_.device_name;
  }
  void run(const std::atomic<bool>& /*halt*/) override {
    loaded_ = share_predictor(key_, [this] {
      return options_.load(file_.map(positions_, options_.graphs.front().parameters));
    });
  }

 private:
  static constexpr double kMaxDescriptor = 2147483647;

  MappedFile file_;
  std::vector<int64_t> positions_;
  std::string key_;
};

}  // namespace

std::unique_ptr<PredictorObject> PredictorObject::create(const Call& call) {
  return take_new(call.addon().new_predictor(), "a Predictor to be made by loadPredictor()");
}

napi_value PredictorObject::load(const Call& call) {
  Addon& addon = call.addon();
  return addon.completions().submit(addon.prediction(), std::make_unique<LoadModelJob>(call));
}

napi_value PredictorObject::load_file(const Call& call) {
  Addon& addon = call.addon();
  return addon.completions().submit(addon.prediction(), std::make_unique<LoadFileJob>(call));
}

void PredictorObject::define(napi_env env, napi_value exports, Addon* addon) {
  using T = PredictorObject;
  define_class<T>(
      env, exports, addon,
      {method<T, &T::shapes>("shapes", addon), key_getter<T>(addon),
       getter<T, &T::relates_rows>("relatesRows", addon), method<T, &T::predict>("predict", addon),
       method<T, &T::bind>("bind", addon), method<T, &T::variant>("variant", addon),
       method<T, &T::profile>("profile", addon), method<T, &T::close>("close", addon)});
}

Prediction& PredictorObject::open() {
  if (prediction_ == nullptr) {
    fail(ErrorCode::kClosed, "expected an open predictor, received a closed one");
  }
  return *prediction_;
}

napi_value PredictorObject::shapes(const Call& call) {
  const napi_env env = call.env();
  const Predictor::Shapes shapes =
      open().predictor.shapes(read_rows(env, call[0], "rows"), prediction_->which);
  Napi::Object object = Napi::Object::New(env);
  object.Set("inputs", make_specs(env, shapes.inputs));
  object.Set("outputs", make_specs(env, shapes.outputs));
  return object;
}

napi_value PredictorObject::relates_rows(const Call& call) {
  const std::optional<Op> op = open().predictor.relates_rows(prediction_->which);
  if (!op) return Napi::Env(call.env()).Null();
  return Napi::String::New(call.env(), name(*op));
}

napi_value PredictorObject::predict_sync(const Call& call) {
  Prediction& prediction = keyed<PredictorObject>(call).open();
  const int64_t rows = read_rows(call.env(), call[1], "rows");
  const Signature& signature = find_arrays(call, prediction, rows);
  Predictor::Session& session = prediction.sync_session;
  if (overlaps_inputs(prediction, signature)) {
    run_aside(prediction, signature, session);
  } else {
    session.run(rows, prediction.sync_inputs, prediction.sync_outputs);
  }
  report_growth(prediction, rows);
  return nullptr;
}

// While nothing is pending the lane does not use its session nor its outputs.
napi_value PredictorObject::predict_here(const Call& call) {
  const napi_env env = call.env();
  PredictorObject& object = keyed<PredictorObject>(call);
  const int64_t rows = read_rows(env, call[1], "rows");
  object.open();
  const std::shared_ptr<Prediction> prediction = object.prediction_;  // whatever hooks do
  Predictor::Session& session = prediction->lane_session;
  const bool here = call.addon().completions().runs_here([&] { return session.expected_ms(rows); });
  if (here) {
    run_aside(*prediction, find_arrays(call, *prediction, rows), session);
    report_growth(*prediction, rows);
  }
  napi_value ran = nullptr;
  check(env, napi_get_boolean(env, here, &ran));
  return ran;
}

napi_value PredictorObject::predict(const Call& call) {
  const napi_env env = call.env();
  Prediction& prediction = open();
  const int64_t rows = read_rows(env, call[0], "rows");
  napi_value cancel = call[1];
  napi_valuetype cancel_type = napi_undefined;
  check(env, napi_typeof(env, cancel, &cancel_type));
  if (cancel_type == napi_null || cancel_type == napi_undefined) {
    cancel = nullptr;
  } else {
    const ArrayView view = view_array(env, cancel, [] { return "cancel"; });
    if (view.type != napi_int32_array) {
      fail_expected(ErrorCode::kDType, "an Int32Array or null", "cancel", type_name(view.type));
    }
  }
  constexpr size_t kFirstArray = 2;
  const size_t arrays = call.count() < kFirstArray ? 0 : call.count() - kFirstArray;
  if (arrays != prediction.input_count || arrays == 0) check_count(prediction, arrays);
  return call.addon().completions().submit(
      call.addon().prediction(),
      std::make_unique<PredictionJob>(call, prediction_, rows, kFirstArray, cancel));
}

napi_value PredictorObject::bind(const Call& call) {
  open();
  const int64_t rows = read_rows(call.env(), call[0], "rows");
  size_t which = prediction_->which;
  if (!Napi::Value(call.env(), call[1]).IsUndefined()) which = read_variant(call, 1);
  return BindingObject::bind(call, prediction_, rows, which);
}

size_t PredictorObject::read_variant(const Call& call, size_t index) {
  const auto last = static_cast<double>(open().predictor.graph_count() - 1);
  return static_cast<size_t>(read_integer({call.env(), call[index]}, "variant", 0, last));
}

napi_value PredictorObject::variant(const Call& call) {
  const size_t which = read_variant(call, 0);
  auto prediction = std::make_shared<Prediction>(
      call.env(), LoadedPredictor{prediction_->owned, prediction_->device_reason}, which);
  return make_instance(call.env(), call.addon(), call.addon().new_predictor(),
                       std::make_unique<PredictorObject>(call.addon(), std::move(prediction)));
}

napi_value PredictorObject::profile(const Call& call) {
  return make_profile(call.env(), open().profile());
}

napi_value PredictorObject::close(const Call& /*call*/) {
  if (prediction_ == nullptr) return nullptr;
  for (BindingObject* binding : std::exchange(prediction_->bindings, {})) binding->release();
  prediction_ = nullptr;  // pending jobs hold on to it until they are settled
  return nullptr;
}

}  // namespace tandem::binding
