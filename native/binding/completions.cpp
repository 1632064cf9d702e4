#include "binding/completions.h"

#include <utility>

#include "binding/addon.h"

namespace tandem::binding {

Completions::Completions(napi_env env, Addon& addon) : env_(env), addon_(addon) {
  const Napi::String name = Napi::String::New(env, "tandem-ml");
  check(env, napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr,
                                             this, on_wake, &wake_));
  check(env, napi_unref_threadsafe_function(env, wake_));
}

napi_value Completions::submit(Lane& lane, std::unique_ptr<Job> job) {
  lane.start();
  napi_value promise = nullptr;
  check(env_, napi_create_promise(env_, &job->deferred_, &promise));
  if (pending_++ == 0) napi_ref_threadsafe_function(env_, wake_);
  lane.push(std::move(job));
  return promise;
}

void Completions::post(std::unique_ptr<Job> job) noexcept {
  {
    const std::lock_guard lock(mutex_);
    finished_.push(std::move(job));
    if (std::exchange(wake_pending_, true)) return;
  }
  // The function outlives every lane: the cleanup hook joins them before Node closes it.
  napi_call_threadsafe_function(wake_, nullptr, napi_tsfn_nonblocking);
}

void Completions::drop() noexcept {
  while (finished_.pop() != nullptr) {
  }
}

void Completions::on_wake(napi_env env, napi_value /*function*/, void* context, void* /*data*/) {
  // Without an environment this is Node emptying its queue after the cleanup hook.
  if (env != nullptr) static_cast<Completions*>(context)->settle_all(env);
}

void Completions::settle_all(napi_env env) {
  JobQueue finished = [this] {
    const std::lock_guard lock(mutex_);
    wake_pending_ = false;
    return std::move(finished_);
  }();
  while (std::unique_ptr<Job> job = finished.pop()) {
    napi_handle_scope scope = nullptr;
    napi_open_handle_scope(env, &scope);
    settle(env, *job);
    job.reset();
    napi_close_handle_scope(env, scope);
    if (--pending_ == 0) napi_unref_threadsafe_function(env, wake_);
  }
}

void Completions::settle(napi_env env, Job& job) {
  napi_value error = nullptr;
  if (job.failure_) {
    error = make_error(env, addon_, *job.failure_);
  } else {
    try {
      napi_value result = job.finish(env);
      if (result == nullptr) napi_get_undefined(env, &result);
      napi_resolve_deferred(env, job.deferred_, result);
      return;
    } catch (...) {
      error = make_current_error(env, addon_);
    }
  }
  // Null: JavaScript can no longer run, and nobody is left to hear of it.
  if (error != nullptr) napi_reject_deferred(env, job.deferred_, error);
}

}  // namespace tandem::binding
