#include "core/placeholder.h"

namespace tandem {
const char* version() { return "0.1.0"; }
}  // namespace tandem
