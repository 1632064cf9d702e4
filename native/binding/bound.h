// The class Binding: a plan with buffers of its own, for calls that copy nothing and look nothing
// up.
#pragma once

#include <memory>
#include <vector>

#include "binding/prediction.h"
#include "binding/wrap.h"

namespace tandem::binding {

/// What a Binding shares with its pending run.
struct BoundPlan {
  std::shared_ptr<Prediction> prediction;  // before the session, which refers to it
  size_t which;                            ///< of the predictor's graphs
  Predictor::Session session;
  std::vector<SharedBuffer> inputs;
  std::vector<SharedBuffer> outputs;
  std::vector<Memory> state;  ///< inputs that keep their contents from run to run
  /// What the above takes of the predictor's memory limit; those that share state share its part.
  std::shared_ptr<const void> held_buffers;
  std::shared_ptr<const void> held_state;
  bool running = false;  ///< run() is pending; of the JavaScript thread

  BoundPlan(std::shared_ptr<Prediction> owner, size_t graph)
      : prediction(std::move(owner)), which(graph), session(prediction->predictor, graph) {}
  void load() const noexcept {
    for (const SharedBuffer& input : inputs) input.load();
  }
  void store() const noexcept {
    for (const SharedBuffer& output : outputs) output.store();
  }
};

class BindingObject : public Wrapped<BindingObject> {
 public:
  static constexpr ClassId kClass = ClassId::kBinding;
  static constexpr const char* kName = "Binding";
  static constexpr napi_type_tag kTag = {0x72b41d95e6038acf, 0x8d10f3a72b6e94c5};

  static std::unique_ptr<BindingObject> create(const Call& call);
  static void define(napi_env env, napi_value exports, Addon* addon);
  /// A new object for graph `which` of `prediction` at this many rows. Of a graph behind the first,
  /// inputs without a free batch are state, which only kernels see; argument 2 of the call may be a
  /// Binding of the same graph to share that of.
  static napi_value bind(const Call& call, std::shared_ptr<Prediction> prediction, int64_t rows,
                         size_t which);

  BindingObject(Addon& addon, std::shared_ptr<BoundPlan> plan, Reference inputs, Reference outputs);
  ~BindingObject();
  /// The addon's function runSync().
  static napi_value run_sync(const Call& call);
  /// close(), for the Predictor, which has forgotten this binding already.
  void release() noexcept { plan_ = nullptr; }

 private:
  napi_value inputs(const Call& call);
  napi_value outputs(const Call& call);
  napi_value run(const Call& call);
  napi_value close(const Call& call);

  static std::shared_ptr<BoundPlan> shared_state(const Call& call, const Prediction& prediction,
                                                 size_t which);
  BoundPlan& idle();
  void forget() noexcept;

  std::shared_ptr<BoundPlan> plan_;  ///< null once closed
  Reference inputs_;                 ///< frozen lists of typed arrays
  Reference outputs_;
};

}  // namespace tandem::binding
