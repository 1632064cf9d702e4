#include <napi.h>

#include "core/placeholder.h"
#include "cpu/placeholder.h"

namespace {

Napi::Value sum(const Napi::CallbackInfo& info) {
  if (info.Length() < 1 || !info[0].IsTypedArray())
    throw Napi::TypeError::New(info.Env(), "sum(Float32Array)");
  const auto x = info[0].As<Napi::Float32Array>();
  return Napi::Number::New(info.Env(),
                           tandem::cpu::sum(x.Data(), static_cast<int>(x.ElementLength())));
}

class Counter : public Napi::ObjectWrap<Counter> {
 public:
  explicit Counter(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Counter>(info) {}
  static Napi::Function define(Napi::Env env) {
    return DefineClass(
        env, "Counter",
        {InstanceMethod<&Counter::next>("next"), InstanceAccessor<&Counter::value>("value")});
  }

 private:
  Napi::Value next(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), ++count_);
  }
  Napi::Value value(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), count_);
  }
  int count_ = 0;
};

Napi::Object init(Napi::Env env, Napi::Object exports) {
  exports["version"] = Napi::String::New(env, tandem::version());
  exports["sum"] = Napi::Function::New(env, sum, "sum");
  exports["Counter"] = Counter::define(env);
  return exports;
}

}  // namespace

NODE_API_MODULE(tandem_ml, init)
