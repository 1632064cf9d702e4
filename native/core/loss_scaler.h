// Dynamic scaling of the loss, which keeps gradients of fp16-mixed within the range of float16:
// Micikevicius et al., "Mixed Precision Training" (2018), by the rule and with the defaults of
// torch.amp.GradScaler.
#pragma once

#include <cmath>

namespace tandem {

struct LossScaler {
  static constexpr float kInitialScale = 65536.0F;
  static constexpr float kGrowth = 2.0F;
  static constexpr float kBackoff = 0.5F;
  static constexpr int kGrowthInterval = 2000;
  /// Gradients that overflow by a scale as small as this one do so by any: 40 steps in a row, from
  /// the first scale on.
  static constexpr float kLeastScale = 0x1p-24F;

  float scale = kInitialScale;
  int good_steps = 0;  ///< since the scale last changed

  [[nodiscard]] bool is_exhausted() const noexcept { return scale <= kLeastScale; }

  /// Moves on behind a step, which was skipped where its gradients were not finite.
  void update(bool skipped) noexcept {
    if (skipped) {
      scale *= kBackoff;
      good_steps = 0;
    } else if (++good_steps == kGrowthInterval) {
      if (std::isfinite(scale * kGrowth)) scale *= kGrowth;
      good_steps = 0;
    }
  }
};

}  // namespace tandem
