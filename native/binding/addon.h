// What the addon keeps for one environment: the main thread or one of Node's worker threads.
//
// Owners: Node-API's instance data, and every native object, so that finalizers may run in any
// order at the end. Everything here belongs to the JavaScript thread. How an environment ends:
//   1. the cleanup hook calls shut_down(): lanes stop at their next step boundary and are joined,
//      jobs are dropped, JavaScript references are deleted;
//   2. Node closes the thread-safe function (made earlier, so its hook runs later);
//   3. Node finalizes wrapped objects, array buffers and the instance data.
// process.exit() on the main thread skips all of that; see ExitGuard in lane.cpp.
#pragma once

#include <napi.h>

#include <cstdint>
#include <memory>
#include <unordered_set>

#include "binding/completions.h"
#include "binding/lane.h"
#include "binding/leases.h"
#include "binding/reference.h"
#include "core/backend.h"

namespace tandem::binding {

/// The native classes, each with its type tag and constructor.
enum class ClassId : uint8_t { kParameters, kTrainer, kPredictor, kBinding, kStagedRows, kCount };

class BindingObject;
class PredictorObject;

class Addon : public std::enable_shared_from_this<Addon> {
 public:
  /// Makes the environment's Addon and fills `exports`.
  static void load(Napi::Env env, Napi::Object exports);
  explicit Addon(napi_env env);
  ~Addon();
  Addon(const Addon&) = delete;
  Addon& operator=(const Addon&) = delete;

  [[nodiscard]] const Reference& error_class() const { return error_class_; }
  void set_error_class(napi_value constructor) { error_class_ = Reference(env_, constructor); }

  Completions& completions() { return completions_; }
  Lane& training() { return training_; }
  Lane& prediction() { return prediction_; }
  Leases& leases() { return leases_; }

  /// Where `object` of class `id` is remembered once its type tag has been checked, so that the
  /// next call need not; objects share places.
  void*& verified(ClassId id, const void* object) {
    return verified_[static_cast<size_t>(id)][reinterpret_cast<uintptr_t>(object) / 32 % kVerified];
  }
  /// The objects of class `id` that have a key.
  std::unordered_set<const void*>& keyed(ClassId id) { return keyed_[static_cast<size_t>(id)]; }
  Reference& constructor(ClassId id) { return constructors_[static_cast<size_t>(id)]; }
  /// What the constructors of Binding and Predictor take over; JavaScript cannot call them itself.
  std::unique_ptr<BindingObject>& new_binding() { return new_binding_; }
  std::unique_ptr<PredictorObject>& new_predictor() { return new_predictor_; }

  /// Whether memory outside V8's heap may back an ArrayBuffer (not in Electron); known after a try.
  [[nodiscard]] bool external_buffers() const { return external_buffers_; }
  void refuse_external_buffers() { external_buffers_ = false; }

 private:
  static constexpr size_t kVerified = 16;
  static void shut_down(void* addon) noexcept;

  napi_env env_;
  Reference error_class_;
  Reference constructors_[static_cast<size_t>(ClassId::kCount)];
  std::unordered_set<const void*> keyed_[static_cast<size_t>(ClassId::kCount)];
  void* verified_[static_cast<size_t>(ClassId::kCount)][kVerified] = {};
  std::unique_ptr<BindingObject> new_binding_;
  std::unique_ptr<PredictorObject> new_predictor_;
#ifdef NODE_API_NO_EXTERNAL_BUFFERS_ALLOWED
  bool external_buffers_ = false;
#else
  bool external_buffers_ = true;
#endif
  Leases leases_;
  Completions completions_;  // before the lanes, which post to it
  Lane training_{completions_};
  Lane prediction_{completions_, cpu_work_behind};
};

}  // namespace tandem::binding
