#include "binding/device.h"

#include "binding/addon.h"
#include "binding/functions.h"
#include "binding/values.h"

namespace tandem::binding {
namespace {

/// Whatever is wrong with the device is said by what is to run on it.
class FindDeviceJob : public Job {
 public:
  explicit FindDeviceJob(const DeviceOption& device) : device_(device) {}
  void run(const std::atomic<bool>& /*halt*/) override {
    try {
      std::string reason;
      on_device(device_, reason, [](const Backend& /*backend*/) { return cpu_info().threads; });
    } catch (const Error& /*error*/) {
    }
  }
  napi_value finish(napi_env env) override { return Napi::Env(env).Undefined(); }

 private:
  DeviceOption device_;
};

}  // namespace

DeviceOption read_device(Napi::Value value, const std::string& name) {
  using Kind = DeviceOption::Kind;
  if (value.IsUndefined()) return {};
  const std::string text = read_string(value, name);
  if (text == "auto") return {};
  if (text == "cpu") return {Kind::kCpu, 0};
  if (text == "cuda") return {Kind::kCuda, 0};
  constexpr size_t kPrefix = 5;  // "cuda:"
  constexpr size_t kMostDigits = 4;
  const std::string digits = text.substr(text.size() < kPrefix ? text.size() : kPrefix);
  const bool is_number = !digits.empty() && digits.size() <= kMostDigits &&
                         digits.find_first_not_of("0123456789") == std::string::npos;
  if (text.rfind("cuda:", 0) != 0 || !is_number) {
    fail_expected(ErrorCode::kArgument, "'auto', 'cpu', 'cuda' or 'cuda:N'", name,
                  "'" + text + "'");
  }
  return {Kind::kCuda, std::stoi(digits)};
}

napi_value devices(const Call& call) {
  const napi_env env = call.env();
  Napi::Array list = Napi::Array::New(env);
  const auto add = [&](const std::string& name, const std::string& description) {
    Napi::Object device = Napi::Object::New(env);
    device.Set("name", name);
    device.Set("description", description);
    list.Set(list.Length(), device);
    return device;
  };
  const CpuInfo info = cpu_info();
  add("cpu", info.isa + ", " + std::to_string(info.threads) + " threads");
  const auto add_gpu = [&](int ordinal, const std::string& description) {
    Napi::Object device = add("cuda:" + std::to_string(ordinal), description);
    try {
      static_cast<void>(cuda::Loader::instance().backend(ordinal));
    } catch (const Error& error) {
      device.Set("reason", error.message());
    }
  };
  try {
    const std::vector<cuda::GpuInfo> gpus = cuda::Loader::instance().gpus();
    for (size_t i = 0; i < gpus.size(); ++i) add_gpu(static_cast<int>(i), gpus[i].name);
  } catch (const Error& error) {
    add("cuda", "none").Set("reason", error.message());
  }
  return list;
}

napi_value find_device(const Call& call) {
  Addon& addon = call.addon();
  auto job = std::make_unique<FindDeviceJob>(read_device({call.env(), call[0]}, "device"));
  return addon.completions().submit(addon.prediction(), std::move(job));
}

}  // namespace tandem::binding
