// The vocabulary of core/elementwise.def on one float of a CUDA thread. CUDA's own functions are
// within 2 ulp (pow: 4) without fast-math, which is never used: it would drop NaN, infinities and
// denormals.
#pragma once

#include <cuda_runtime.h>

namespace tandem::cuda {

#define TANDEM_DEVICE __device__ __forceinline__

TANDEM_DEVICE float c(float x) { return x; }
TANDEM_DEVICE float sqrt_(float x) { return sqrtf(x); }
TANDEM_DEVICE float exp_(float x) { return expf(x); }
TANDEM_DEVICE float expm1_(float x) { return expm1f(x); }
TANDEM_DEVICE float log_(float x) { return logf(x); }
TANDEM_DEVICE float tanh_(float x) { return tanhf(x); }
TANDEM_DEVICE float erf_(float x) { return erff(x); }
TANDEM_DEVICE float sin_(float x) { return sinf(x); }
TANDEM_DEVICE float cos_(float x) { return cosf(x); }
TANDEM_DEVICE float abs_(float x) { return fabsf(x); }
TANDEM_DEVICE float pow_(float x, float y) { return powf(x, y); }
TANDEM_DEVICE float sigmoid_(float x) { return 1.0F / (1.0F + expf(-x)); }
TANDEM_DEVICE float softplus_(float x) { return fmaxf(x, 0.0F) + log1pf(expf(-fabsf(x))); }
/// A NaN wins, unlike in fmaxf and fminf.
TANDEM_DEVICE float max_(float a, float b) { return a > b || a != a ? a : b; }
TANDEM_DEVICE float min_(float a, float b) { return a < b || a != a ? a : b; }
TANDEM_DEVICE float where_gt(float p, float q, float r, float s) { return p > q ? r : s; }
TANDEM_DEVICE float where_ge(float p, float q, float r, float s) { return p >= q ? r : s; }
TANDEM_DEVICE float where_eq(float p, float q, float r, float s) { return p == q ? r : s; }

}  // namespace tandem::cuda
