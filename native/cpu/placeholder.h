#pragma once

namespace tandem::cpu {

namespace isa_scalar {
float sum(const float* x, int count);
}
namespace isa_avx2 {
float sum(const float* x, int count);
}
namespace isa_avx512 {
float sum(const float* x, int count);
}

float sum(const float* x, int count);

}  // namespace tandem::cpu
