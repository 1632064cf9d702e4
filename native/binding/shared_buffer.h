// Native memory that JavaScript sees as an ArrayBuffer.
//
// The ArrayBuffer shares ownership of the memory: its views stay valid after every close and after
// the collection of the native object. Where the runtime forbids memory of others behind an
// ArrayBuffer (Electron), the buffer is a copy, which load() and store() bring up to date around
// each use: JavaScript may detach it, so native code must not compute in it.
#pragma once

#include <napi.h>

#include "binding/addon.h"
#include "binding/reference.h"
#include "core/backend.h"

namespace tandem::binding {

class SharedBuffer {
 public:
  SharedBuffer(napi_env env, Addon& addon, Memory memory, int64_t bytes);

  [[nodiscard]] napi_value array_buffer() const { return buffer_.value(); }
  [[nodiscard]] const Memory& memory() const { return memory_; }
  [[nodiscard]] ByteRange bytes() const {
    const std::byte* const begin = memory_.data.get();
    return {begin, begin + bytes_};
  }
  /// Detaches the ArrayBuffer and gives the memory up.
  void release() noexcept;
  /// What JavaScript wrote becomes visible to native code. Nothing to do without a copy, or when
  /// JavaScript has detached it.
  void load() const noexcept;
  /// What native code wrote becomes visible to JavaScript, in the same way.
  void store() const noexcept;

 private:
  bool try_share(Addon& addon);
  std::byte* copy() const noexcept;

  napi_env env_;
  Memory memory_;
  size_t bytes_;
  Reference buffer_;
  bool copied_ = false;
};

/// Tells V8 how much native memory hangs on objects of its own, so that it collects them in time.
class ExternalMemory {
 public:
  explicit ExternalMemory(napi_env env) : env_(env) {}
  ExternalMemory(const ExternalMemory&) = delete;
  ExternalMemory& operator=(const ExternalMemory&) = delete;
  ~ExternalMemory() { set(0); }
  void set(int64_t bytes) noexcept {
    int64_t total = 0;
    if (bytes != bytes_) napi_adjust_external_memory(env_, bytes - bytes_, &total);
    bytes_ = bytes;
  }

 private:
  napi_env env_;
  int64_t bytes_ = 0;
};

}  // namespace tandem::binding
