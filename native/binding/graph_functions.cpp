#include "binding/arrays.h"
#include "binding/describe.h"
#include "binding/device.h"
#include "binding/functions.h"
#include "binding/results.h"
#include "binding/staging.h"
#include "binding/values.h"

namespace tandem::binding {
namespace {

/// The arguments that evaluate() and vjp() share, all read before any memory is looked at.
struct GraphCall {
  GraphDescription graph;
  int64_t batch;
  std::vector<napi_value> arrays;
  EvaluateOptions options;
  DeviceOption device;
  std::vector<Staging> copied;  ///< feeds of integers
  std::vector<const void*> feeds;
};

GraphCall read_call(const Call& call, size_t options) {
  const napi_env env = call.env();
  GraphCall read{read_graph({env, call[0]}, "graph"),
                 read_rows(env, call[1], "batch"),
                 list_elements(env, call[2], "feeds"),
                 read_evaluate_options({env, call[options]}, "options"),
                 read_device(Napi::Value(env, call[options]).As<Napi::Object>().Get("device"),
                             "options.device"),
                 {},
                 {}};
  if (read.arrays.size() != read.graph.inputs.size()) {
    fail_expected(ErrorCode::kArgument, std::to_string(read.graph.inputs.size()) + " arrays",
                  "feeds", std::to_string(read.arrays.size()));
  }
  return read;
}

/// The memory of the feeds; no JavaScript may run from here to the end of the call. That of another
/// thread may, and write to shared memory: integers are copied, since kernels that look at an index
/// twice, as embeddingGrad does, rely on finding the same one.
void view_feeds(napi_env env, GraphCall& call, const Graph& graph) {
  for (size_t i = 0; i < call.arrays.size(); ++i) {
    const std::string& name = call.graph.inputs[i].name;
    const Tensor& tensor = graph.tensor(graph.inputs[i]);
    const ArrayView view = view_array(env, call.arrays[i], [&] { return name; });
    if (!converts_to(view, tensor.dtype)) fail_dtype(view, tensor.dtype, name);
    if (view.length != static_cast<uint64_t>(tensor.numel)) {
      fail_length(tensor.numel, view.length, name);
    }
    if (tensor.dtype == DType::kFloat32) {
      call.feeds.push_back(view.data);
      continue;
    }
    Staging copy;
    copy.resize(view.length * 4);
    copy_elements(view, 0, view.length, tensor.dtype, copy.data(), name);
    call.feeds.push_back(copy.data());
    call.copied.push_back(std::move(copy));
  }
}

std::vector<const float*> view_cotangents(napi_env env, const std::vector<napi_value>& arrays,
                                          const Graph& graph) {
  std::vector<const float*> cotangents;
  for (size_t i = 0; i < arrays.size(); ++i) {
    const napi_valuetype type = Napi::Value(env, arrays[i]).Type();
    if (type == napi_null || type == napi_undefined) {
      cotangents.push_back(nullptr);
      continue;
    }
    const std::string name = "cotangents[" + std::to_string(i) + "]";
    const Tensor& tensor = graph.tensor(graph.outputs[i]);
    const ArrayView view = view_array(env, arrays[i], [&]() -> const std::string& { return name; });
    if (!is_exactly(view, DType::kFloat32)) fail_dtype(view, DType::kFloat32, name);
    if (view.length != static_cast<uint64_t>(tensor.numel)) {
      fail_length(tensor.numel, view.length, name);
    }
    cotangents.push_back(static_cast<const float*>(view.data));
  }
  return cotangents;
}

}  // namespace

napi_value evaluate(const Call& call) {
  GraphCall read = read_call(call, 3);
  const Graph graph = instantiate(read.graph, read.batch, read.options.training);
  view_feeds(call.env(), read, graph);
  std::string reason;
  const Evaluation result = on_device(read.device, reason, [&](const Backend& backend) {
    return tandem::evaluate(read.graph, read.batch, read.feeds, read.options, backend);
  });
  return make_arrays(call.env(), result, 0, result.tensors.size());
}

napi_value vjp(const Call& call) {
  const napi_env env = call.env();
  GraphCall read = read_call(call, 5);
  const std::vector<napi_value> arrays = list_elements(env, call[3], "cotangents");
  const std::vector<int64_t> wrt = read_integers({env, call[4]}, "wrt", 0);
  std::vector<ValueId> ids;
  const Graph graph = instantiate(read.graph, read.batch, read.options.training, &ids);
  if (arrays.size() != graph.outputs.size()) {
    fail_expected(ErrorCode::kArgument, std::to_string(graph.outputs.size()) + " cotangents",
                  "cotangents", std::to_string(arrays.size()));
  }
  for (const int64_t number : wrt) {
    if (number >= static_cast<int64_t>(ids.size())) {
      fail_expected(ErrorCode::kArgument, "numbers of the graph's values", "wrt",
                    std::to_string(number));
    }
  }
  const std::vector<const float*> cotangents = view_cotangents(env, arrays, graph);
  view_feeds(env, read, graph);
  std::string reason;
  const Evaluation result = on_device(read.device, reason, [&](const Backend& backend) {
    return tandem::vjp(read.graph, read.batch, read.feeds, cotangents, wrt, read.options, backend);
  });
  const size_t outputs = graph.outputs.size();
  Napi::Object object = Napi::Object::New(env);
  object.Set("outputs", make_arrays(env, result, 0, outputs));
  object.Set("gradients", make_arrays(env, result, outputs, result.tensors.size()));
  return object;
}

}  // namespace tandem::binding
