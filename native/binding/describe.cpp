#include "binding/describe.h"

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

ParameterDescription read_parameter(Napi::Value value, const std::string& name) {
  const Napi::Object object = read_object(value, name);
  ParameterDescription parameter;
  parameter.name = read_string(object.Get("name"), name + ".name");
  parameter.shape = read_integers(object.Get("shape"), name + ".shape", 0);
  if (read_dtype(object.Get("dtype"), name + ".dtype") != DType::kFloat32) {
    fail_expected(ErrorCode::kDType, "'float32'", name + ".dtype", "'int32'");
  }
  parameter.trainable = read_boolean(object.Get("trainable"), name + ".trainable");
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
  const Napi::Value scales = object.Get("weightScales");
  const ArrayView view = view_array(scales.Env(), scales, [&] { return name + ".weightScales"; });
  if (!is_exactly(view, DType::kFloat32)) fail_dtype(view, DType::kFloat32, name + ".weightScales");
  const auto* const data = static_cast<const float*>(view.data);
  quantization->weight_scales.assign(data, data + view.length);
  return quantization;
}

/// Numbers what is quantized, in the order of the nodes.
void number_quantizations(GraphDescription& graph) {
  int32_t count = 0;
  for (NodeDescription& node : graph.nodes) {
    if (node.quantization == nullptr) continue;
    auto numbered = std::make_shared<Quantization>(*node.quantization);
    numbered->index = count++;
    node.quantization = std::move(numbered);
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
  fail_expected(ErrorCode::kArgument, "'float32' or 'bf16-mixed'", name, "'" + precision + "'");
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
  number_quantizations(graph);
  return graph;
}

TrainerOptions read_trainer_options(Napi::Value value, const std::string& name) {
  const Napi::Object object = read_object(value, name);
  const Napi::Object optimizer = read_object(object.Get("optimizer"), name + ".optimizer");
  const std::string op = read_string(optimizer.Get("op"), name + ".optimizer.op");
  const std::optional<Op> known = find_op(op);
  if (!known ||
      (*known != Op::sgd && *known != Op::adam && *known != Op::rmsprop && *known != Op::adagrad)) {
    fail_expected(ErrorCode::kArgument, "'sgd', 'adam', 'rmsprop' or 'adagrad'",
                  name + ".optimizer.op", "'" + op + "'");
  }
  TrainerOptions options;
  options.optimizer = *known;
  options.optimizer_attributes = make_attributes(
      *known, read_attributes(optimizer.Get("attributes"), name + ".optimizer.attributes"));
  options.max_gradient_norm = read_finite(object.Get("maxGradNorm"), name + ".maxGradNorm");
  if (options.max_gradient_norm < 0) {
    fail_expected(ErrorCode::kArgument, "a number of 0 or more", name + ".maxGradNorm",
                  describe_value(object.Get("maxGradNorm")));
  }
  options.check_numerics = read_boolean(object.Get("checkNumerics"), name + ".checkNumerics");
  options.seed = static_cast<uint64_t>(read_integer(object.Get("seed"), name + ".seed", 0));
  options.threads = read_threads(object.Get("threads"), name + ".threads");
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

int read_threads(Napi::Value value, const std::string& name) {
  return static_cast<int>(read_integer(value, name, 0, kMaxThreads));
}

}  // namespace tandem::binding
