#include "binding/functions.h"

#include "binding/addon.h"
#include "binding/arrays.h"
#include "binding/describe.h"
#include "binding/results.h"
#include "binding/values.h"
#include "core/backend.h"
#include "cpu/held_memory.h"

namespace tandem::binding {
namespace {

const char* type_name(AttributeType type) {
  switch (type) {
    case AttributeType::kFloat:
    case AttributeType::kDouble:
      return "number";
    case AttributeType::kInteger:
      return "integer";
    case AttributeType::kBoolean:
      return "boolean";
    case AttributeType::kIntList:
      return "integers";
    case AttributeType::kPair:
      return "pair";
  }
  return "number";
}

Napi::Object describe_op(napi_env env, const OpInfo& op) {
  Napi::Array attributes = Napi::Array::New(env, op.field_count);
  for (uint32_t i = 0; i < op.field_count; ++i) {
    Napi::Object attribute = Napi::Object::New(env);
    attribute.Set("name", op.fields[i].name);
    attribute.Set("type", type_name(op.fields[i].type));
    attribute.Set("required", op.fields[i].required);
    attributes.Set(i, attribute);
  }
  Napi::Object object = Napi::Object::New(env);
  object.Set("name", op.name);
  object.Set("internal", (op.flags & kInternal) != 0);
  object.Set("minInputs", op.min_inputs);
  object.Set("maxInputs", op.max_inputs);
  object.Set("attributes", attributes);
  return object;
}

std::optional<Tensor> read_spec(Napi::Value value, const std::string& name) {
  if (value.IsNull() || value.IsUndefined()) return std::nullopt;
  const Napi::Object object = read_object(value, name);
  const Shape shape = read_integers(object.Get("shape"), name + ".shape", 0);
  return make_tensor(shape, read_dtype(object.Get("dtype"), name + ".dtype"));
}

}  // namespace

napi_value set_error_class(const Call& call) {
  const Napi::Value constructor(call.env(), call[0]);
  if (!constructor.IsFunction()) {
    fail_expected(ErrorCode::kArgument, "a class", "constructor", describe_value(constructor));
  }
  call.addon().set_error_class(constructor);
  return nullptr;
}

napi_value cpu(const Call& call) {
  const CpuInfo info = cpu_info();
  Napi::Object object = Napi::Object::New(call.env());
  object.Set("isa", info.isa);
  object.Set("extensions", make_strings(call.env(), cpu_extensions()));
  object.Set("available", make_strings(call.env(), info.available));
  object.Set("threads", info.threads);
  return object;
}

napi_value held_memory(const Call& call) {
  const cpu::HeldMemory held = cpu::held_memory();
  Napi::Object object = Napi::Object::New(call.env());
  object.Set("blocks", static_cast<double>(held.blocks));
  object.Set("scratch", static_cast<double>(held.scratch));
  return object;
}

napi_value ops(const Call& call) {
  Napi::Array list = Napi::Array::New(call.env(), kOpCount);
  for (uint32_t i = 0; i < kOpCount; ++i) {
    list.Set(i, describe_op(call.env(), info(static_cast<Op>(i))));
  }
  return list;
}

napi_value has_op(const Call& call) {
  const std::optional<Op> op = find_op(read_string({call.env(), call[0]}, "name"));
  const bool offered = op && (info(*op).flags & kInternal) == 0;
  return Napi::Boolean::New(call.env(), offered);
}

napi_value infer(const Call& call) {
  const napi_env env = call.env();
  const std::string name = read_string({env, call[0]}, "op");
  const std::optional<Op> op = find_op(name);
  if (!op) fail_expected(ErrorCode::kArgument, "a known op", "op", "'" + name + "'");
  AttributeStorage attributes = make_attributes(*op, read_attributes({env, call[1]}, "attributes"));
  std::vector<std::optional<Tensor>> inputs;
  for (napi_value element : list_elements(env, call[2], "inputs")) {
    inputs.push_back(read_spec({env, element}, "inputs[" + std::to_string(inputs.size()) + "]"));
  }
  return make_specs(env, tandem::infer(*op, inputs, attributes));
}

}  // namespace tandem::binding
