// A size beyond those of tensors. Arithmetic on sizes does not know whose they are: `infer` catches
// this error and says which op they are of, and what it was applied to.
#pragma once

#include <string>
#include <utility>

#include "core/error.h"

namespace tandem {

class LimitError : public Error {
 public:
  LimitError(std::string expected, const std::string& received)
      : Error(ErrorCode::kShape, "expected " + expected + ", received " + received),
        expected_(std::move(expected)) {}
  [[nodiscard]] const std::string& expected() const noexcept { return expected_; }

 private:
  std::string expected_;
};

}  // namespace tandem
