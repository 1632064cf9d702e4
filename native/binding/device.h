// The option `device`: which backend computes.
#pragma once

#include <napi.h>

#include <string>

#include "core/backend.h"
#include "core/error.h"
#include "cuda/host/loader.h"

namespace tandem::binding {

/// 'auto', 'cpu', 'cuda' or 'cuda:1'.
struct DeviceOption {
  enum class Kind : uint8_t { kAuto, kCpu, kCuda };
  Kind kind = Kind::kAuto;
  int ordinal = 0;
};

/// 'auto' when undefined. Throws ERR_ARGUMENT.
DeviceOption read_device(Napi::Value value, const std::string& name);

/// What make(backend) returns, for the backend that is asked for. 'auto' is the first GPU, and the
/// CPU where there is none, it lacks an op or its memory does not suffice; `reason` then says so.
/// Throws ERR_DEVICE where a GPU is asked for by name and cannot be had.
template <typename Make>
auto on_device(const DeviceOption& device, std::string& reason, const Make& make) {
  using Kind = DeviceOption::Kind;
  if (device.kind == Kind::kCuda) return make(cuda::Loader::instance().backend(device.ordinal));
  if (device.kind == Kind::kAuto) {
    try {
      return make(cuda::Loader::instance().backend(0));
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kDevice && error.code() != ErrorCode::kOutOfMemory) throw;
      reason = error.message();
    }
  }
  return make(cpu_backend());
}

}  // namespace tandem::binding
