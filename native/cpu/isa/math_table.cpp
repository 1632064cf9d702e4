#include "cpu/isa/math_table.h"

#include "cpu/isa/math.h"

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

template <typename F>
TANDEM_INLINE void loop(const float* x, float* y, int64_t n, F f) {
  int64_t i = 0;
  for (; i + kWidth <= n; i += kWidth) store(y + i, f(load(x + i)));
  if (i < n) store_partial(y + i, f(load_partial(x + i, n - i)), n - i);
}

#define TANDEM_MATH(name)                                 \
  void name##_loop(const float* x, float* y, int64_t n) { \
    loop(x, y, n, [](Vec v) { return name##_(v); });      \
  }
TANDEM_MATH(exp)
TANDEM_MATH(expm1)
TANDEM_MATH(log)
TANDEM_MATH(tanh)
TANDEM_MATH(erf)
TANDEM_MATH(sigmoid)
TANDEM_MATH(softplus)
TANDEM_MATH(sin)
TANDEM_MATH(cos)
#undef TANDEM_MATH

void pow_loop(const float* x, const float* y, float* z, int64_t n) {
  int64_t i = 0;
  for (; i + kWidth <= n; i += kWidth) store(z + i, pow_(load(x + i), load(y + i)));
  if (i < n)
    store_partial(z + i, pow_(load_partial(x + i, n - i), load_partial(y + i, n - i)), n - i);
}

}  // namespace

extern const MathTable math_table;
const MathTable math_table = {exp_loop,     expm1_loop,    log_loop, tanh_loop, erf_loop,
                              sigmoid_loop, softplus_loop, sin_loop, cos_loop,  pow_loop};

}  // namespace tandem::cpu::TANDEM_ISA_NS
