#include "binding/loans.h"

#include <new>

#include "binding/addon.h"

namespace tandem::binding {

void Loans::add(Loan* loan, napi_value array_buffer) {
  open_.insert(loan);
  check(env_, napi_create_reference(env_, array_buffer, 0, &loan->array_buffer));
  // Hooks run newest first, and Node's for this ArrayBuffer is the newest now: ours goes before it.
  napi_remove_env_cleanup_hook(env_, keep_moved, this);
  check(env_, napi_add_env_cleanup_hook(env_, keep_moved, this));
}

void Loans::give_back(napi_env env, void* /*data*/, void* hint) noexcept {
  const std::unique_ptr<Loan> loan(static_cast<Loan*>(hint));
  loan->addon->loans().open_.erase(loan.get());
  if (loan->array_buffer != nullptr) napi_delete_reference(env, loan->array_buffer);
}

void Loans::keep_moved(void* data) noexcept {
  const Loans& loans = *static_cast<Loans*>(data);
  napi_handle_scope scope = nullptr;
  if (napi_open_handle_scope(loans.env_, &scope) != napi_ok) return;
  for (const Loan* loan : loans.open_) {
    // An ArrayBuffer that was collected before its memory was freed may have been moved, too.
    bool moved = true;
    napi_value buffer = nullptr;
    napi_get_reference_value(loans.env_, loan->array_buffer, &buffer);
    if (buffer != nullptr) napi_is_detached_arraybuffer(loans.env_, buffer, &moved);
    if (moved) static_cast<void>(new (std::nothrow) Memory(loan->memory));
  }
  napi_close_handle_scope(loans.env_, scope);
}

}  // namespace tandem::binding
