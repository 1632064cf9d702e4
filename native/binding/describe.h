// Descriptions from JavaScript as those of the core. Types and ranges are checked here; what a
// graph means, such as known ops and shapes that fit, is checked by instantiate().
#pragma once

#include <napi.h>

#include "binding/gather.h"
#include "core/evaluate.h"
#include "core/model.h"
#include "core/trainer.h"

namespace tandem::binding {

AttributeList read_attributes(Napi::Value value, const std::string& name);
std::vector<ParameterDescription> read_parameters(Napi::Value value, const std::string& name);
GraphDescription read_graph(Napi::Value value, const std::string& name);
TrainerOptions read_trainer_options(Napi::Value value, const std::string& name);
/// Empty when left out.
std::vector<std::optional<IntegerRange>> read_ranges(Napi::Value value, const std::string& name);
EvaluateOptions read_evaluate_options(Napi::Value value, const std::string& name);
/// Bytes; 0 when undefined, which is no limit. Throws ERR_ARGUMENT.
int64_t read_memory_limit(Napi::Value value, const std::string& name);
/// 'float32' or 'bfloat16', which is that of products.
Precision read_prediction_precision(Napi::Value value, const std::string& name);
int read_threads(Napi::Value value, const std::string& name);

}  // namespace tandem::binding
