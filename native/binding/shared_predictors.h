// Predictors of files that several environments of the process have: Node's worker threads that
// load one file share one copy of its weights, packed once.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "core/predictor.h"

namespace tandem::binding {

/// A Predictor, and why 'auto' is the CPU.
struct LoadedPredictor {
  std::shared_ptr<Predictor> predictor;
  std::string device_reason;
};

/// The Predictor known under `key` while anybody has it, otherwise what `make` returns, which
/// others that ask for the key meanwhile wait for. For any thread.
LoadedPredictor share_predictor(const std::string& key,
                                const std::function<LoadedPredictor()>& make);

}  // namespace tandem::binding
