#include "binding/shared_buffer.h"

#include <cstring>

namespace tandem::binding {

SharedBuffer::SharedBuffer(napi_env env, Addon& addon, Memory memory, int64_t bytes)
    : env_(env), memory_(std::move(memory)), bytes_(static_cast<size_t>(bytes)) {
  if (bytes_ > 0 && addon.external_buffers() && try_share(addon)) return;
  void* data = nullptr;
  napi_value buffer = nullptr;
  check(env_, napi_create_arraybuffer(env_, bytes_, &data, &buffer));
  buffer_ = Reference(env_, buffer);
  copied_ = bytes_ > 0;
  store();
}

#ifdef NODE_API_NO_EXTERNAL_BUFFERS_ALLOWED
// Node-API's own macro for addons that must do without.
bool SharedBuffer::try_share(Addon& /*addon*/) { return false; }
#else
bool SharedBuffer::try_share(Addon& addon) {
  auto owner = std::make_unique<Memory>(memory_);
  napi_value buffer = nullptr;
  const napi_status status = napi_create_external_arraybuffer(
      env_, memory_.data.get(), bytes_,
      [](napi_env, void*, void* hint) { delete static_cast<Memory*>(hint); }, owner.get(), &buffer);
  if (status == napi_no_external_buffers_allowed) {
    addon.refuse_external_buffers();
    return false;
  }
  // In every other failure Node may already have called the finalizer, so it keeps what it got.
  static_cast<void>(owner.release());
  check(env_, status);
  buffer_ = Reference(env_, buffer);
  return true;
}
#endif

void SharedBuffer::release() noexcept {
  napi_detach_arraybuffer(env_, buffer_.value());
  buffer_.reset();
  memory_ = {};
  bytes_ = 0;
  copied_ = false;
}

std::byte* SharedBuffer::copy() const noexcept {
  // A scope of its own: jobs that the cleanup hook drops come here without one.
  napi_handle_scope scope = nullptr;
  if (napi_open_handle_scope(env_, &scope) != napi_ok) return nullptr;
  void* data = nullptr;
  size_t length = 0;
  const bool known = napi_get_arraybuffer_info(env_, buffer_.value(), &data, &length) == napi_ok;
  napi_close_handle_scope(env_, scope);
  return known && length == bytes_ ? static_cast<std::byte*>(data) : nullptr;
}

void SharedBuffer::load() const noexcept {
  if (!copied_) return;
  if (const std::byte* const data = copy()) std::memcpy(memory_.data.get(), data, bytes_);
}

void SharedBuffer::store() const noexcept {
  if (!copied_) return;
  if (std::byte* const data = copy()) std::memcpy(data, memory_.data.get(), bytes_);
}

}  // namespace tandem::binding
