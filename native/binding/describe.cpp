#include "binding/describe.h"

#include <algorithm>
#include <array>
#include <limits>

#include "binding/arrays.h"
#include "binding/errors.h"
#include "binding/values.h"

namespace tandem::binding {
namespace {

constexpr double kMaxThreads = 4096;

/// `read(element, "name[i]")` for each element of an array.
template <typename Read>
auto read_list(Napi::Value value, const std::string& name, const Read& read) {
  std::vector<decltype(read(value, name))> list;
  for (napi_value element : list_elements(value.Env(), value, name)) {
    list.push_back(read({value.Env(), element}, name + "[" + std::to_string(list.size()) + "]"));
  }
  return list;
}

InputDescription read_input(Napi::Value value, const std::string& name) {
  const Napi::Object object = read_object(value, name);
  InputDescription input;
  input.name = read_string(object.Get("name"), name + ".name");
  input.shape = read_integers(object.Get("shape"), name + ".shape", -1);
  input.dtype = read_dtype(object.Get("dtype"), name + ".dtype");
  // Checked with one row in place of the free dimension; other -1s are refused here.
  Shape shape = input.shape;
  if (!shape.empty() && shape[0] == -1) shape[0] = 1;
  make_tensor(shape, input.dtype);
  return input;
}

Initializer read_initializer(Napi::Value value, const std::string& name) {
  const Napi::Object object = read_object(value, name);
  const std::string kind = read_string(object.Get("kind"), name + ".kind");
  Initializer initializer;
  if (kind == "uniform") {
    initializer.kind = InitializerKind::kUniform;
  } else if (kind == "normal") {
    initializer.kind = InitializerKind::kNormal;
  } else if (kind == "truncatedNormal") {
    initializer.kind = InitializerKind::kTruncatedNormal;
  } else if (kind == "constant") {
    initializer.kind = InitializerKind::kConstant;
  } else {
    fail_expected(ErrorCode::kArgument, "'uniform', 'normal', 'truncatedNormal' or 'constant'",
                  name + ".kind", "'" + kind + "'");
  }
  initializer.a = read_finite(object.Get("a"), name + ".a");
  initializer.b = read_finite(object.Get("b"), name + ".b");
  return initializer;
}

/// Whether a parameter lies in memory as bytes, rather than floats.
bool read_stored(Napi::Value value, const std::string& name) {
  const std::string dtype = read_string(value, name);
  if (dtype != "int8" && dtype != "float32")
    fail_expected(ErrorCode::kDType, "'float32' or 'int8'", name, "'" + dtype + "'");
  return dtype == "int8";
}

ParameterDescription read_parameter(Napi::Value value, const std::string& name) {
  const Napi::Object object = read_object(value, name);
  ParameterDescription parameter;
  parameter.name = read_string(object.Get("name"), name + ".name");
  parameter.shape = read_integers(object.Get("shape"), name + ".shape", 0);
  parameter.is_bytes = read_stored(object.Get("dtype"), name + ".dtype");
  parameter.trainable = read_boolean(object.Get("trainable"), name + ".trainable");
  if (parameter.is_bytes && parameter.trainable)
    fail_expected(ErrorCode::kArgument, "false for bytes", name + ".trainable", "true");
  parameter.initializer = read_initializer(object.Get("initializer"), name + ".initializer");
  make_tensor(parameter.shape, DType::kFloat32);
  return parameter;
}

Constant read_constant(Napi::Value value, const std::string& name) {
  const Napi::Object object = read_object(value, name);
  const Shape shape = read_integers(object.Get("shape"), name + ".shape", 0);
  const Napi::Value data = object.Get("data");
  const ArrayView view = view_array(data.Env(), data, [&] { return name + ".data"; });
  const DType dtype = view.type == napi_int32_array ? DType::kInt32 : DType::kFloat32;
  if (!is_exactly(view, dtype)) fail_dtype(view, dtype, name + ".data");
  Constant constant{make_tensor(shape, dtype), {}};
  if (static_cast<uint64_t>(constant.tensor.numel) != view.length) {
    fail_length(constant.tensor.numel, view.length, name + ".data");
  }
  const ByteRange bytes = view.bytes();
  constant.data.assign(bytes.begin, bytes.end);
  return constant;
}

std::shared_ptr<const Quantization> read_quantization(Napi::Value value, const std::string& name) {
  const Napi::Object object = read_object(value, name);
  const std::string mode = read_string(object.Get("mode"), name + ".mode");
  auto quantization = std::make_shared<Quantization>();
  if (mode == "static") {
    quantization->mode = QuantizationMode::kStatic;
  } else if (mode == "dynamic") {
    quantization->mode = QuantizationMode::kDynamic;
  } else if (mode == "weights") {
    quantization->mode = QuantizationMode::kWeights;
  } else {
    fail_expected(ErrorCode::kArgument, "'static', 'dynamic' or 'weights'", name + ".mode",
                  "'" + mode + "'");
  }
  quantization->scale = static_cast<float>(read_finite(object.Get("scale"), name + ".scale"));
  quantization->zero =
      static_cast<int32_t>(read_integer(object.Get("zero"), name + ".zero", 0, 255));
  constexpr double kMostNodes = std::numeric_limits<int32_t>::max();
  quantization->index =
      static_cast<int32_t>(read_integer(object.Get("index"), name + ".index", 0, kMostNodes));
  const Napi::Value scales = object.Get("weightScales");
  const ArrayView view = view_array(scales.Env(), scales, [&] { return name + ".weightScales"; });
  if (!is_exactly(view, DType::kFloat32)) fail_dtype(view, DType::kFloat32, name + ".weightScales");
  const auto* const data = static_cast<const float*>(view.data);
  quantization->weight_scales.assign(data, data + view.length);
  return quantization;
}

/// Tells quantized nodes of weights that are bytes already.
void mark_bytes(GraphDescription& graph) {
  const auto first = static_cast<int64_t>(graph.inputs.size());
  const auto end = first + static_cast<int64_t>(graph.parameters.size());
  for (NodeDescription& node : graph.nodes) {
    if (node.quantization == nullptr || node.inputs.size() < 2) continue;
    const int64_t weight = node.inputs[1];
    if (weight < first || weight >= end) continue;
    if (!graph.parameters[static_cast<size_t>(weight - first)].is_bytes) continue;
    auto marked = std::make_shared<Quantization>(*node.quantization);
    marked->weight_is_bytes = true;
    node.quantization = std::move(marked);
  }
}

NodeDescription read_node(Napi::Value value, const std::string& name) {
  const Napi::Object object = read_object(value, name);
  NodeDescription node;
  node.op = read_string(object.Get("op"), name + ".op");
  node.inputs = read_integers(object.Get("inputs"), name + ".inputs", -1);
  node.attributes = read_attributes(object.Get("attributes"), name + ".attributes");
  const Napi::Value quantization = object.Get("quantization");
  if (!quantization.IsUndefined())
    node.quantization = read_quantization(quantization, name + ".quantization");
  return node;
}

AttributeValue read_attribute(Napi::Value value, const std::string& name) {
  if (value.IsNumber()) return value.As<Napi::Number>().DoubleValue();
  if (value.IsBoolean()) return value.As<Napi::Boolean>().Value();
  if (value.IsArray()) return read_list(value, name, read_number);
  fail_expected(ErrorCode::kArgument, "a number, a boolean or an array of numbers", name,
                describe_value(value));
}

Precision read_precision(Napi::Value value, const std::string& name) {
  const std::string precision = read_string(value, name);
  if (precision == "float32") return Precision::kFloat32;
  if (precision == "bf16-mixed") return Precision::kBf16Mixed;
  if (precision == "fp16-mixed") return Precision::kFp16Mixed;
  fail_expected(ErrorCode::kArgument, "'float32', 'bf16-mixed' or 'fp16-mixed'", name,
                "'" + precision + "'");
}

}  // namespace

AttributeList read_attributes(Napi::Value value, const std::string& name) {
  const Napi::Object object = read_object(value, name);
  napi_value keys = nullptr;
  check(object.Env(), napi_get_all_property_names(
                          object.Env(), object, napi_key_own_only,
                          static_cast<napi_key_filter>(napi_key_enumerable | napi_key_skip_symbols),
                          napi_key_numbers_to_strings, &keys));
  AttributeList attributes;
  for (napi_value key : list_elements(object.Env(), keys, name)) {
    std::string field = Napi::String(object.Env(), key).Utf8Value();
    AttributeValue attribute =
        read_attribute(object.Get(key), std::string(name).append(".").append(field));
    attributes.emplace_back(std::move(field), std::move(attribute));
  }
  return attributes;
}

std::vector<ParameterDescription> read_parameters(Napi::Value value, const std::string& name) {
  return read_list(value, name, read_parameter);
}

GraphDescription read_graph(Napi::Value value, const std::string& name) {
  const Napi::Object object = read_object(value, name);
  GraphDescription graph;
  graph.inputs = read_list(object.Get("inputs"), name + ".inputs", read_input);
  graph.parameters = read_parameters(object.Get("parameters"), name + ".parameters");
  graph.constants = read_list(object.Get("constants"), name + ".constants", read_constant);
  graph.nodes = read_list(object.Get("nodes"), name + ".nodes", read_node);
  graph.outputs = read_integers(object.Get("outputs"), name + ".outputs", 0);
  mark_bytes(graph);
  return graph;
}

/// The optimizer's op, and its attributes for each group of parameters.
static void read_optimizer(const Napi::Object& optimizer, const std::string& name,
                           TrainerOptions& options) {
  const std::string op = read_string(optimizer.Get("op"), name + ".op");
  const std::optional<Op> known = find_op(op);
  constexpr std::array kOptimizers{Op::sgd, Op::adam, Op::rmsprop, Op::adagrad, Op::lion, Op::lamb};
  if (!known || std::find(kOptimizers.begin(), kOptimizers.end(), *known) == kOptimizers.end()) {
    fail_expected(ErrorCode::kArgument, "'sgd', 'adam', 'rmsprop', 'adagrad', 'lion' or 'lamb'",
                  name + ".op", "'" + op + "'");
  }
  options.optimizer = *known;
  options.groups = read_list(optimizer.Get("groups"), name + ".groups",
                             [known](Napi::Value group, const std::string& field) {
                               return make_attributes(*known, read_attributes(group, field));
                             });
  if (options.groups.empty())
    fail_expected(ErrorCode::kArgument, "one group or more", name + ".groups", "none");
  options.optimizer_attributes = options.groups[0];
  for (const int64_t group : read_integers(optimizer.Get("groupOf"), name + ".groupOf", -1))
    options.group_of.push_back(static_cast<int32_t>(std::min<int64_t>(group, INT32_MAX)));
}

static SkipPolicy read_skip_policy(Napi::Value value, const std::string& name) {
  SkipPolicy policy;
  if (value.IsNull()) return policy;
  const Napi::Object object = read_object(value, name);
  const auto count = [&](const char* key, double low) {
    constexpr double kMost = std::numeric_limits<int>::max();
    return static_cast<int>(read_integer(object.Get(key), name + "." + key, low, kMost));
  };
  policy.skips = true;
  policy.backoff = read_finite(object.Get("backoff"), name + ".backoff");
  if (policy.backoff <= 0 || policy.backoff > 1) {
    fail_expected(ErrorCode::kArgument, "a number above 0, up to 1", name + ".backoff",
                  describe_value(object.Get("backoff")));
  }
  policy.recovery_steps = count("recoverySteps", 1);
  policy.max_skips = count("maxSkips", 0);
  return policy;
}

TrainerOptions read_trainer_options(Napi::Value value, const std::string& name) {
  const Napi::Object object = read_object(value, name);
  constexpr double kMaxScales = 1 << 20;
  TrainerOptions options;
  read_optimizer(read_object(object.Get("optimizer"), name + ".optimizer"), name + ".optimizer",
                 options);
  const auto from_0 = [&](const char* key) {
    const double number = read_finite(object.Get(key), name + "." + key);
    if (number >= 0) return number;
    fail_expected(ErrorCode::kArgument, "a number of 0 or more", name + "." + key,
                  describe_value(object.Get(key)));
  };
  options.max_gradient_norm = from_0("maxGradNorm");
  options.max_gradient_value = from_0("maxGradValue");
  options.average_decay = from_0("averageDecay");
  options.accumulates = read_boolean(object.Get("accumulates"), name + ".accumulates");
  options.divisors = read_list(object.Get("divisors"), name + ".divisors",
                               [](Napi::Value number, const std::string& field) {
                                 return static_cast<size_t>(read_integer(number, field, 0));
                               });
  options.scales =
      static_cast<size_t>(read_integer(object.Get("scales"), name + ".scales", 0, kMaxScales));
  options.segments = static_cast<int>(read_integer(object.Get("segments"), name + ".segments",
                                                   TrainerOptions::kChooseSegments, 4096));
  options.skip = read_skip_policy(object.Get("skip"), name + ".skip");
  options.check_numerics = read_boolean(object.Get("checkNumerics"), name + ".checkNumerics");
  options.seed = static_cast<uint64_t>(read_integer(object.Get("seed"), name + ".seed", 0));
  options.threads = read_threads(object.Get("threads"), name + ".threads");
  options.memory_limit = read_memory_limit(object.Get("memoryLimit"), name + ".memoryLimit");
  options.precision = read_precision(object.Get("precision"), name + ".precision");
  return options;
}

std::vector<std::optional<IntegerRange>> read_ranges(Napi::Value value, const std::string& name) {
  if (value.IsUndefined()) return {};
  return read_list(value, name,
                   [](Napi::Value range, const std::string& field) -> std::optional<IntegerRange> {
                     if (range.IsNull()) return std::nullopt;
                     const Napi::Object object = read_object(range, field);
                     const auto read = [&](const char* key) {
                       constexpr double kLow = std::numeric_limits<int32_t>::min();
                       constexpr double kHigh = std::numeric_limits<int32_t>::max();
                       return static_cast<int32_t>(
                           read_integer(object.Get(key), field + "." + key, kLow, kHigh));
                     };
                     return IntegerRange{read("low"), read("high"), read("ignored")};
                   });
}

EvaluateOptions read_evaluate_options(Napi::Value value, const std::string& name) {
  const Napi::Object object = read_object(value, name);
  EvaluateOptions options;
  options.training = read_boolean(object.Get("training"), name + ".training");
  options.seed = static_cast<uint64_t>(read_integer(object.Get("seed"), name + ".seed", 0));
  options.threads = read_threads(object.Get("threads"), name + ".threads");
  return options;
}

Precision read_prediction_precision(Napi::Value value, const std::string& name) {
  const std::string precision = read_string(value, name);
  if (precision == "float32") return Precision::kFloat32;
  if (precision == "bfloat16") return Precision::kBf16Mixed;
  fail_expected(ErrorCode::kArgument, "'float32' or 'bfloat16'", name, "'" + precision + "'");
}

int64_t read_memory_limit(Napi::Value value, const std::string& name) {
  return value.IsUndefined() ? 0 : read_integer(value, name, 0);
}

int read_threads(Napi::Value value, const std::string& name) {
  return static_cast<int>(read_integer(value, name, 0, kMaxThreads));
}

}  // namespace tandem::binding
