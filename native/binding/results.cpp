#include "binding/results.h"

#include "binding/arrays.h"

namespace tandem::binding {
namespace {

void set(Napi::Object& object, const char* name, double value) { object.Set(name, value); }
void set(Napi::Object& object, const char* name, int64_t value) {
  object.Set(name, static_cast<double>(value));
}

}  // namespace

Napi::Array make_strings(napi_env env, const std::vector<std::string>& strings) {
  Napi::Array list = Napi::Array::New(env, strings.size());
  for (uint32_t i = 0; i < strings.size(); ++i) list.Set(i, strings[i]);
  return list;
}

napi_value make_profile(napi_env env, const Profile& profile) {
  Napi::Object memory = Napi::Object::New(env);
  set(memory, "parameters", profile.memory.parameters);
  set(memory, "gradients", profile.memory.gradients);
  set(memory, "optimizer", profile.memory.optimizer);
  set(memory, "activations", profile.memory.activations);
  set(memory, "workspace", profile.memory.workspace);
  set(memory, "total", profile.memory.total());
  Napi::Object latency = Napi::Object::New(env);
  set(latency, "p50", profile.p50_ms);
  set(latency, "p99", profile.p99_ms);
  Napi::Object object = Napi::Object::New(env);
  set(object, "flops", profile.flops);
  set(object, "batch", profile.batch);
  object.Set("memory", memory);
  object.Set("latencyMs", latency);
  object.Set("device", profile.device);
  if (!profile.device_reason.empty()) object.Set("deviceReason", profile.device_reason);
  object.Set("kernels", make_strings(env, profile.kernels));
  return object;
}

Napi::Array make_arrays(napi_env env, const Evaluation& evaluation, size_t first, size_t last) {
  Napi::Array list = Napi::Array::New(env, last - first);
  for (size_t i = first; i < last; ++i) {
    const Tensor& tensor = evaluation.tensors[i];
    list.Set(static_cast<uint32_t>(i - first),
             Napi::Value(env, make_array(env, tensor.dtype, evaluation.outputs[i].data.get(),
                                         static_cast<size_t>(tensor.numel))));
  }
  return list;
}

}  // namespace tandem::binding
