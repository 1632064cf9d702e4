// The class Predictor.
#pragma once

#include "binding/prediction.h"
#include "binding/wrap.h"

namespace tandem::binding {

class PredictorObject : public Wrapped<PredictorObject> {
 public:
  static constexpr ClassId kClass = ClassId::kPredictor;
  static constexpr const char* kName = "Predictor";
  static constexpr napi_type_tag kTag = {0xd3058b9a4c7e4f16, 0xa9c27be4315f60d8};

  static std::unique_ptr<PredictorObject> create(const Call& call);
  /// The addon's function loadPredictor().
  static napi_value load(const Call& call);
  /// The addon's function loadPredictorFile().
  static napi_value load_file(const Call& call);
  static void define(napi_env env, napi_value exports, Addon* addon);
  /// The addon's function predictSync().
  static napi_value predict_sync(const Call& call);
  /// The addon's function predictHere().
  static napi_value predict_here(const Call& call);
  PredictorObject(Addon& addon, std::shared_ptr<Prediction> prediction)
      : Wrapped(addon), prediction_(std::move(prediction)) {}

 private:
  napi_value shapes(const Call& call);
  napi_value relates_rows(const Call& call);
  napi_value predict(const Call& call);
  napi_value bind(const Call& call);
  napi_value variant(const Call& call);
  napi_value profile(const Call& call);
  napi_value close(const Call& call);

  Prediction& open();
  size_t read_variant(const Call& call, size_t index);

  std::shared_ptr<Prediction> prediction_;  ///< null once closed; jobs may go on sharing it
};

}  // namespace tandem::binding
