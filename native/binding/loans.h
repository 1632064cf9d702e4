// Native memory that ArrayBuffers of one environment hold a share of. Of the JavaScript thread.
//
// Node gives a share back when the memory behind an ArrayBuffer is freed, and at the latest when
// the environment ends. By then ArrayBuffer.prototype.transfer() may have moved the memory to an
// ArrayBuffer that Node does not know, and that one to another thread, where it lives on. Such
// memory is never freed: nobody can say when its last view goes.
#pragma once

#include <napi.h>

#include <memory>
#include <unordered_set>

#include "core/backend.h"

namespace tandem::binding {

class Addon;

struct Loan {
  Memory memory;
  std::shared_ptr<Addon> addon;
  napi_ref array_buffer = nullptr;  ///< weak
};

class Loans {
 public:
  explicit Loans(napi_env env) : env_(env) {}
  Loans(const Loans&) = delete;
  Loans& operator=(const Loans&) = delete;

  /// Begins to watch a loan, whose ArrayBuffer has just been made.
  void add(Loan* loan, napi_value array_buffer);
  /// Ends it: the finalizer of the ArrayBuffer.
  static void give_back(napi_env env, void* data, void* loan) noexcept;

 private:
  static void keep_moved(void* loans) noexcept;

  napi_env env_;
  std::unordered_set<Loan*> open_;
};

}  // namespace tandem::binding
