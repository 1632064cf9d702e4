// The one exception type of native code. It is thrown anywhere below the binding and caught once
// per entry point there; nothing native prints, exits or aborts.
#pragma once

#include <cstdint>
#include <exception>
#include <string>
#include <utility>

namespace tandem {

enum class ErrorCode : uint8_t {
  kShape,
  kDType,
  kArgument,
  kClosed,
  kBusy,
  kAborted,
  kFileFormat,
  kDevice,
  kOutOfMemory,
  kNumeric,
};

/// The code as JavaScript sees it, such as "ERR_SHAPE".
const char* name(ErrorCode code) noexcept;

class Error : public std::exception {
 public:
  Error(ErrorCode code, std::string message) : code_(code), message_(std::move(message)) {}
  [[nodiscard]] ErrorCode code() const noexcept { return code_; }
  [[nodiscard]] const std::string& message() const noexcept { return message_; }
  [[nodiscard]] const char* what() const noexcept override { return message_.c_str(); }

 private:
  ErrorCode code_;
  std::string message_;
};

[[noreturn]] void fail(ErrorCode code, std::string message);

}  // namespace tandem
