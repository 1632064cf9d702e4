// Steps that are not finite: which are left out, which are refused, and what follows.
#include <algorithm>
#include <cmath>

#include "core/non_finite.h"
#include "core/trainer.h"

namespace tandem {
namespace {

/// The sign of a NaN depends on the processor.
std::string to_text(double value) { return std::isnan(value) ? "NaN" : std::to_string(value); }

}  // namespace

/// Whether the policy has to do with a step that is not finite. A smaller scale may mend gradients,
/// but not a loss.
bool Trainer::is_of_policy() const {
  if (!scales_loss()) return true;
  return options_.check_numerics && is_bad_loss_ && options_.reducer->ranks() == 1;
}

/// Whether this step, which is not finite, may not be left out either.
bool Trainer::must_refuse() const {
  if (state_.skip == 0) return false;
  if (scales_loss() && progress_.loss_scaler.is_exhausted()) return true;
  if (!is_of_policy()) return false;
  return !options_.skip.skips || progress_.skips >= options_.skip.max_skips;
}

void Trainer::refuse_step(PlanKey key, const std::vector<const void*>& inputs, double loss) {
  const StepState state = state_;
  std::vector<const void*> all = inputs;
  if (!scales_.empty()) all.push_back(scales_.data());
  state_.part = 0;
  const NonFiniteSearch search{graph(key.which),
                               parameters_->layout(),
                               backend_,
                               device_parameters_.data.get(),
                               options_.precision,
                               options_.threads,
                               update_options_.group_of};
  const std::string first = find_non_finite(search, key.batch, all, state);
  fail(ErrorCode::kNumeric,
       "expected a finite loss and finite gradients at step " + std::to_string(progress_.step + 1) +
           ", received loss " + to_text(loss) + " and gradient norm " +
           to_text(static_cast<double>(state.gradient_norm)) +
           (is_of_policy() ? "" : ", however little the loss is scaled") +
           (first.empty() ? "" : ", first in " + first) + "; parameters are as before that step");
}

void Trainer::back_off() noexcept {
  progress_.backoff *= options_.skip.backoff;
  progress_.good_steps = 0;
  ++progress_.skips;
}

void Trainer::recover() noexcept {
  progress_.skips = 0;
  if (progress_.backoff >= 1 || ++progress_.good_steps < options_.skip.recovery_steps) return;
  progress_.good_steps = 0;
  progress_.backoff = std::min(1.0, progress_.backoff / options_.skip.backoff);
}

}  // namespace tandem
