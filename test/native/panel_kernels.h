// The families of register kernels of bfloat16 that attention can be multiplied by.
#pragma once

#include <string>
#include <vector>

#include "cpu/gemm_kernels.h"
#include "isas.h"

namespace tandem::cpu {

/// Those that this machine can run; for `large` products not tiles in software, which take long.
inline std::vector<const GemmKernels*> panel_families(const Isa& isa, bool large) {
  std::vector<const GemmKernels*> all;
  for (const GemmKernels* const* k = isa.gemm_kernels(GEMM_BF16); *k != nullptr; ++k) {
    const bool software = std::string((*k)->name).ends_with("_reference");
    if ((*k)->available() && !(large && software)) all.push_back(*k);
  }
  return all;
}

/// Products of bfloat16 use `kernels` while it lives.
class ChosenKernels {
 public:
  ChosenKernels(const Isa& isa, const GemmKernels* kernels)
      : chosen_(isa.panel_kernels()), before_(chosen_) {
    chosen_ = kernels;
  }
  ~ChosenKernels() { chosen_ = before_; }
  ChosenKernels(const ChosenKernels&) = delete;
  ChosenKernels& operator=(const ChosenKernels&) = delete;

 private:
  const GemmKernels*& chosen_;
  const GemmKernels* before_;
};

}  // namespace tandem::cpu
