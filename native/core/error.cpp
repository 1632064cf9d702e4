#include "core/error.h"

namespace tandem {

const char* name(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::kShape:
      return "ERR_SHAPE";
    case ErrorCode::kDType:
      return "ERR_DTYPE";
    case ErrorCode::kArgument:
      return "ERR_ARGUMENT";
    case ErrorCode::kClosed:
      return "ERR_CLOSED";
    case ErrorCode::kBusy:
      return "ERR_BUSY";
    case ErrorCode::kAborted:
      return "ERR_ABORTED";
    case ErrorCode::kFileFormat:
      return "ERR_FILE_FORMAT";
    case ErrorCode::kDevice:
      return "ERR_DEVICE";
    case ErrorCode::kOutOfMemory:
      return "ERR_OUT_OF_MEMORY";
    case ErrorCode::kNumeric:
      return "ERR_NUMERIC";
  }
  return "ERR_ARGUMENT";
}

void fail(ErrorCode code, std::string message) { throw Error(code, std::move(message)); }

}  // namespace tandem
