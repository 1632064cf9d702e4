#include "binding/device.h"

#include "binding/functions.h"
#include "binding/values.h"

namespace tandem::binding {

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

}  // namespace tandem::binding
