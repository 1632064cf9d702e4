#include "binding/completions.h"

#include <thread>
#include <utility>

#include "binding/addon.h"

namespace tandem::binding {

Completions::Completions(napi_env env, Addon& addon) : env_(env), addon_(addon) {
  const Napi::String name = Napi::String::New(env, "tandem-ml");
  check(env, napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr,
                                             this, on_wake, &wake_));
  check(env, napi_unref_threadsafe_function(env, wake_));
  set_immediate_ = Reference(env, Napi::Env(env).Global().Get("setImmediate"));
  resume_ = make_callback<&Completions::on_resume>("settle");
  turned_ = make_callback<&Completions::on_turn>("turn");
  polled_ = make_callback<&Completions::on_poll>("poll");
}

template <void (Completions::*method)()>
Reference Completions::make_callback(const char* name) {
  const auto body = [](napi_env env, napi_callback_info info) -> napi_value {
    void* self = nullptr;
    napi_get_cb_info(env, info, nullptr, nullptr, nullptr, &self);
    (static_cast<Completions*>(self)->*method)();
    return nullptr;
  };
  napi_value function = nullptr;
  check(env_, napi_create_function(env_, name, NAPI_AUTO_LENGTH, body, this, &function));
  return {env_, function};
}

napi_value Completions::submit(Lane& lane, std::unique_ptr<Job> job) {
  const bool here = runs_here([&job] { return job->expected_ms(); });
  if (!here) lane.start();
  napi_value promise = nullptr;
  check(env_, napi_create_promise(env_, &job->deferred_, &promise));
  if (here) {
    run_here(*job);
    return promise;
  }
  if (pending_ == 0 && job->waits_for_device()) begin_polling(job->expected_ms());
  if (pending_++ == 0) napi_ref_threadsafe_function(env_, wake_);
  job->on_push();
  lane.push(std::move(job));
  return promise;
}

/// For a millisecond of each turn of the loop: a loop of awaited calls would otherwise stay among
/// its own microtasks and the event loop would never turn.
bool Completions::has_time_for(double expected_ms) noexcept {
  constexpr std::chrono::milliseconds kShare{1};
  if (expected_ms >= kBriefMs) return false;
  if (!turn_open_) return begin_turn();
  return std::chrono::steady_clock::now() - turn_began_ < kShare;
}

/// Whether the end of this turn will be known.
bool Completions::begin_turn() noexcept {
  turn_open_ = call_set_immediate(turned_);
  turn_began_ = std::chrono::steady_clock::now();
  return turn_open_;
}

/// Has the loop turn again and again, other events served in each turn, until a job that a device
/// will soon have done is there: a loop that has gone to sleep takes as long to wake up as a small
/// training step. Not where the lane that waits for the device needs this processor.
void Completions::begin_polling(double expected_ms) noexcept {
  constexpr double kSoonMs = 0.3;
  static const bool kHasProcessors = std::thread::hardware_concurrency() > 2;
  if (!(expected_ms < kSoonMs) || !kHasProcessors) return;
  const std::chrono::duration<double, std::milli> patience(2 * expected_ms + 0.1);
  poll_end_ = std::chrono::steady_clock::now() +
              std::chrono::duration_cast<std::chrono::steady_clock::duration>(patience);
  if (!polling_) polling_ = call_set_immediate(polled_);
}

void Completions::on_poll() {
  settle_some(env_);
  polling_ =
      pending_ > 0 && std::chrono::steady_clock::now() < poll_end_ && call_set_immediate(polled_);
}

void Completions::run_here(Job& job) {
  static const std::atomic<bool> kNeverHalted{false};
  try {
    job.run(kNeverHalted);
  } catch (...) {
    job.failure_ = current_failure();
  }
  settle(env_, job);
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
  while (next_finished() != nullptr) {
  }
  set_immediate_.reset();
  resume_.reset();
  turned_.reset();
  polled_.reset();
}

std::unique_ptr<Job> Completions::next_finished() noexcept {
  const std::lock_guard lock(mutex_);
  return finished_.pop();
}

void Completions::on_wake(napi_env env, napi_value /*function*/, void* context, void* /*data*/) {
  // Without an environment this is Node emptying its queue after the cleanup hook.
  if (env != nullptr) static_cast<Completions*>(context)->settle_some(env);
}

void Completions::settle_some(napi_env env) {
  // enough to make a turn of the loop worth while, few enough that it ends within a millisecond
  constexpr int kJobsPerTurn = 32;
  {
    const std::lock_guard lock(mutex_);
    wake_pending_ = false;
  }
  for (int settled = 0;; ++settled) {
    if (settled >= kJobsPerTurn && defer()) return;
    const std::unique_ptr<Job> job = next_finished();
    if (job == nullptr) return;
    napi_handle_scope scope = nullptr;
    napi_open_handle_scope(env, &scope);
    settle(env, *job);
    napi_close_handle_scope(env, scope);
    if (--pending_ == 0) napi_unref_threadsafe_function(env, wake_);
  }
}

bool Completions::call_set_immediate(const Reference& function) noexcept {
  napi_handle_scope scope = nullptr;
  napi_open_handle_scope(env_, &scope);
  napi_value undefined = nullptr;
  napi_get_undefined(env_, &undefined);
  const napi_value argument = function.value();
  const napi_status status =
      napi_call_function(env_, undefined, set_immediate_.value(), 1, &argument, nullptr);
  napi_close_handle_scope(env_, scope);
  return status == napi_ok;
}

bool Completions::defer() noexcept {
  {
    const std::lock_guard lock(mutex_);
    if (finished_.empty() || wake_pending_) return true;
    wake_pending_ = true;
  }
  if (call_set_immediate(resume_)) return true;
  const std::lock_guard lock(mutex_);
  wake_pending_ = false;
  return false;
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
