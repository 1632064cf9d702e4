#pragma once

namespace tandem::binding {

/// Keeps this library loaded until the process ends. Node unloads an addon with the last worker
/// thread that used it, but the engine's pool and its exit handler belong to the process.
void keep_library_loaded() noexcept;

}  // namespace tandem::binding
