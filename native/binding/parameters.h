// The class Parameters: the arena of a model. Memory goes when neither a view nor a Trainer refers
// to it; release() is for a model that nobody has seen.
#pragma once

#include <memory>

#include "binding/shared_buffer.h"
#include "binding/step_gate.h"
#include "binding/wrap.h"
#include "core/model.h"

namespace tandem::binding {

/// What a Parameters object shares with the Trainers of it. Dies on the JavaScript thread.
struct ParameterArena {
  ParameterArena(std::shared_ptr<ParameterStore> parameters, SharedBuffer view)
      : store(std::move(parameters)), buffer(std::move(view)) {}

  std::shared_ptr<ParameterStore> store;
  SharedBuffer buffer;
  StepGate gate;    ///< steps change the arena behind it
  int users = 0;    ///< pending jobs on the arena
  int writers = 0;  ///< those that train; together they lease its memory

  /// Brackets a job, for buffers that are copies; only the first may load, as it alone has no
  /// thread beside it.
  void begin_use() noexcept {
    if (users == 0) buffer.load();
    ++users;
  }
  void end_use() noexcept {
    --users;
    buffer.store();
  }
};

class ParametersObject : public Wrapped<ParametersObject> {
 public:
  static constexpr ClassId kClass = ClassId::kParameters;
  static constexpr const char* kName = "Parameters";
  static constexpr napi_type_tag kTag = {0x1f0c6c3ad9b64e61, 0x93f8b2e17a5d4c08};

  static std::unique_ptr<ParametersObject> create(const Call& call);
  static void define(napi_env env, napi_value exports, Addon* addon);
  ParametersObject(Addon& addon, std::shared_ptr<ParameterArena> arena)
      : Wrapped(addon), arena_(std::move(arena)) {}

  /// Throws ERR_CLOSED.
  [[nodiscard]] const std::shared_ptr<ParameterArena>& arena() const;

 private:
  napi_value buffer(const Call& call);
  napi_value offsets(const Call& call);
  napi_value release(const Call& call);

  std::shared_ptr<ParameterArena> arena_;  ///< null once released
};

/// The arena behind argument `i`, an instance of Parameters. Throws ERR_ARGUMENT, ERR_CLOSED.
const std::shared_ptr<ParameterArena>& parameters_argument(const Call& call, size_t i);

}  // namespace tandem::binding
