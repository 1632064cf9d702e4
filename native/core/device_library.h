// The one thing that a device's shared library exports. Both sides are compiled from the same
// sources by compilers of one C++ ABI, which device_abi() has to show before anything else is
// believed: plans and errors cross the border as the C++ objects that they are.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/backend.h"

namespace tandem {

struct DeviceLibrary {
  uint64_t abi;        ///< device_abi() as the library was compiled; in this place in every version
  int driver_version;  ///< the oldest driver that will do, as cuDriverGetVersion() counts
  /// The backend of a device, one for the process, made at the first request. Throws ERR_DEVICE,
  /// ERR_OUT_OF_MEMORY.
  const Backend& (*open)(int ordinal);
};

/// The name of the function, of type DeviceLibraryFn, that returns the table.
inline constexpr const char* kDeviceLibraryEntry = "tandem_device_library";
using DeviceLibraryFn = const DeviceLibrary* (*)();

/// A number that differs when the ops, or what crosses the border, do.
consteval uint64_t device_abi() {
  uint64_t hash = 0xcbf29ce484222325U;
  const auto mix = [&hash](uint64_t value) { hash = (hash ^ value) * 0x100000001b3U; };
  const auto mix_name = [&mix](const char* name) {
    for (; *name != '\0'; ++name) mix(static_cast<uint64_t>(*name));
    mix(0);
  };
  constexpr uint64_t kBorderVersion = 5;  // counts changes of Backend and Executable
  mix(kBorderVersion);
#define UNARY(name, A, a_default, B, b_default, forward, derivative, SAVED) mix_name(#name);
#define BINARY(name, forward, gradient_a, gradient_b) mix_name(#name);
#define LOSS(name, A, a_default, value, gradient_x, gradient_t) mix_name(#name);
#include "core/elementwise.def"
#define OP(name, Type) mix_name(#name);
#include "core/ops.def"
  for (const size_t size :
       {sizeof(Plan), sizeof(Graph), sizeof(Node), sizeof(Value), sizeof(StepState),
        sizeof(CompileRequest), sizeof(std::string), sizeof(Error), sizeof(Memory)}) {
    mix(size);
  }
#ifdef __GXX_ABI_VERSION
  mix(__GXX_ABI_VERSION);
#endif
#ifdef _GLIBCXX_USE_CXX11_ABI
  mix(_GLIBCXX_USE_CXX11_ABI);
#endif
  return hash;
}

}  // namespace tandem
