#pragma once

namespace tandem {
const char* version();
}
