// Exponentials, logarithms, trigonometry and their kin on Vec: one source for every width.
//
// How: arguments are reduced in two or three parts (Cody and Waite: a constant is split so that the
// first product is exact under fma), the rest is a polynomial. The coefficients are minimax fits of
// the relative error by the Remez exchange in 40-digit arithmetic, those of erf by weighted least
// squares, each rounded to float in turn and the higher ones fitted again. The forms follow N.
// Juffa's published float functions (expm1, log, pow) and J.-M. Muller, "Elementary Functions".
// Signs of zero, infinities, NaN and denormals come out as in C99.
//
// Largest errors found, in ulp of the exact result, of the worst instruction set (math_test.cpp
// checks a sample):
//   over every float where the function is neither constant nor all but linear:
//     exp 1.02, log 0.93, tanh 1.34, erf 0.86, expm1 1.03, sigmoid 2.41, softplus 1.87;
//   over every 61st float of all: sin 1.49, cos 1.48; over 32 million pairs: pow 1.53.
#pragma once

#include "cpu/isa/vec.h"

namespace tandem::cpu::TANDEM_ISA_NS {

inline constexpr float kInfinity = __builtin_huge_valf();
inline constexpr float kLog2e = 0x1.715476p+0F;
inline constexpr float kLn2High = 0x1.62e430p-1F;
inline constexpr float kLn2Low = -0x1.05c610p-29F;

TANDEM_INLINE Vec quiet_nan() { return set1(__builtin_nanf("")); }

/// A whole number in [-252, 252], as a float and, in the low bits, as an integer.
struct Whole {
  Vec n;
  IVec i;
};
/// The whole number nearest to x / ln 2: adding 1.5 * 2^23 leaves it in the low bits.
TANDEM_INLINE Whole halvings(Vec x) {
  const Vec shifted = fma(x, c(kLog2e), c(0x1.8p23F));
  return {shifted - c(0x1.8p23F), bits(shifted)};
}

/// x * 2^n, rounded once.
TANDEM_INLINE Vec scale_by_power_of_two(Vec x, Whole n) {
#if defined(TANDEM_ISA_AVX512)
  return {_mm512_scalef_ps(x.v, n.n.v)};
#else
  const IVec whole = n.i - iset1(0x4b400000);
  const IVec half = shr_signed<1>(whole);
  return (x * from_bits(shl<23>(half + iset1(127)))) *
         from_bits(shl<23>(whole - half + iset1(127)));
#endif
}

/// exp(x + tail) for x in [-110, 90], |tail| << |x|.
TANDEM_INLINE Vec exp_in_range(Vec x, Vec tail) {
  const Whole n = halvings(x);
  Vec r = fused(n.n, c(-kLn2High), x);
  r = fused(n.n, c(-kLn2Low), r) + tail;
  Vec q = c(0x1.6ac74ap-10F);
  q = fma(q, r, c(0x1.123de0p-7F));
  q = fma(q, r, c(0x1.555858p-5F));
  q = fma(q, r, c(0x1.55548cp-3F));
  q = fma(q, r, c(0x1.fffffcp-2F));
  return scale_by_power_of_two(fused(q, r * r, r) + c(1), n);
}

TANDEM_INLINE Vec exp_in_range(Vec x) { return exp_in_range(x, zero()); }

TANDEM_INLINE Vec exp_(Vec x) { return exp_in_range(lesser_of(c(89), greater_of(c(-105), x))); }

TANDEM_INLINE Vec expm1_(Vec x) {
  const Vec in = lesser_of(c(89), greater_of(c(-30), x));
  const Whole whole = halvings(in);
  const Vec n = whole.n;
  Vec r = fused(n, c(-kLn2High), in);
  r = fused(n, c(-kLn2Low), r);
  Vec q = c(0x1.9c5076p-13F);
  q = fma(q, r, c(0x1.6d4c14p-10F));
  q = fma(q, r, c(0x1.1113acp-7F));
  q = fma(q, r, c(0x1.5554eap-5F));
  q = fma(q, r, c(0x1.555554p-3F));
  q = fma(q, r, c(0.5F));
  // 2^n expm1(r) + (2^n - 1), halved so that 2^128 fits; for n = 1 the sum would lose a bit.
  const Mask one = n == c(1);
  const Vec v = fused(q, r * r, select(one, r + c(0.5F), r));
  const Vec power = scale_by_power_of_two(c(0.5F), whole);
  const Vec high = power - c(0.5F);
  const Vec low = (power - high) - c(0.5F);
  const Vec sum = fused(v, power, low) + high;
  const Vec y = select(n == zero(), v, select(one, v + v, sum + sum));
  return select(x == zero(), x, y);
}

/// log(1 + f) for f in [-1/3, 1/3].
TANDEM_INLINE Vec log1p_in_range(Vec f) {
  const Vec s = f * f;
  Vec odd = fma(c(-0x1.082c0ap-3F), s, c(-0x1.f2f19cp-4F));
  Vec even = fma(c(0x1.1ef832p-3F), s, c(0x1.1ebeeep-3F));
  odd = fma(odd, s, c(-0x1.559eaap-3F));
  even = fma(even, s, c(0x1.99d17ep-3F));
  odd = fma(odd, s, c(-0x1.fffeecp-3F));
  Vec p = fma(even, s, c(0x1.555504p-2F));
  p = fma(odd, f, p);
  p = fma(p, f, c(-0.5F));
  return fused(p, s, f);
}

TANDEM_INLINE Vec log_(Vec x) {
  const Mask denormal = c(0x1p-126F) > x;
  const IVec i = bits(select(denormal, x * c(0x1p23F), x));
  const IVec exponent = (i - iset1(0x3f2aaaab)) & iset1(static_cast<int32_t>(0xff800000U));
  const Vec n = to_float(shr_signed<23>(exponent)) - select(denormal, c(23), zero());
  const Vec y =
      fused(n, c(kLn2High), log1p_in_range(from_bits(i - exponent) - c(1)));  // of m in [2/3, 4/3)
  const Vec special = select(x == zero(), c(-kInfinity), select(x < zero(), quiet_nan(), x));
  return select((x > zero()) & (x < c(kInfinity)), y, special);
}

TANDEM_INLINE Vec tanh_(Vec x) {
  const Vec t = abs_(x);
  const Vec s = x * x;
  Vec p = c(-0x1.828776p-8F);
  p = fma(p, s, c(0x1.54c3c2p-6F));
  p = fma(p, s, c(-0x1.b89abap-5F));
  p = fma(p, s, c(0x1.1109bep-3F));
  p = fma(p, s, c(-0x1.55553ep-2F));
  const Vec small = fused(p, s * t, t);
  const Vec twice = lesser_of(c(20), t + t);
  const Vec large = c(1) - c(2) / (exp_in_range(twice) + c(1));
  return copysign_(select(t < c(0.6F), small, large), x);
}

/// Eight pieces of equal width, each a polynomial about a centre whose erf is almost a float: what
/// is added to that is small, so hardly more than the last rounding is lost, and it costs about
/// half of the usual way through exp. The first piece is odd and adds to t itself instead.
TANDEM_INLINE Vec erf_(Vec x) {
  // clang-format off
  static constexpr float kCentre[] = {
      0, 0x1.0d87cp-1F, 0x1.0dd338p+0F, 0x1.948756p+0F, 0x1.0d913ap+1F,
      0x1.51077ep+1F, 0x1.9476eap+1F, 0x1.d87792p+1F};
  static constexpr float kAtCentre[] = {
      0, 0x1.163a48p-1F, 0x1.ba550ap-1F, 0x1.f2fa24p-1F, 0x1.fe841ep-1F,
      0x1.ffe644p-1F, 0x1.fffef8p-1F, 0x1.fffffap-1F};
  static constexpr float kRest[][8] = {
      {-0x1.ac7bfep-6F, 0x1.b39214p-8F, 0x1.a204e6p-7F, -0x1.70f202p-8F, -0x1.1545cap-9F,
       0x1.5b3e12p-11F, 0x1.f7dbeep-13F, 0x1.758372p-16F},
      {0, -0x1.867fdap-5F, 0x1.2de3bep-7F, 0x1.08d228p-6F, -0x1.68bd4ap-10F, -0x1.225f28p-9F,
       -0x1.be9b4p-12F, -0x1.1447c2p-15F},
      {0x1.ce0ed8p-4F, -0x1.de594ap-12F, -0x1.119c6ep-4F, -0x1.9b8a1ap-8F, 0x1.9fd112p-7F,
       0x1.0d6f6p-8F, 0x1.00385p-11F, 0x1.bd1bfap-16F},
      {0, 0x1.77c662p-3F, 0x1.a04442p-5F, -0x1.8f9f34p-5F, -0x1.c39dcap-6F, -0x1.57cb9ap-8F,
       -0x1.e486c2p-12F, -0x1.4df8ep-16F},
      {-0x1.81272ap-2F, -0x1.04428p-3F, 0x1.35e4ccp-3F, 0x1.fa9abcp-4F, 0x1.1f6e4cp-5F,
       0x1.354338p-8F, 0x1.58dafp-12F, 0x1.90f5bap-17F},
      {0, -0x1.cd0a36p-2F, -0x1.90fc68p-2F, -0x1.2ca656p-3F, -0x1.cd7828p-6F, -0x1.7bc17p-9F,
       -0x1.58cbdp-13F, -0x1.530a5ap-18F},
      {0x1.06eba8p-3F, 0x1.b5e576p-1F, 0x1.7c70b6p-2F, 0x1.7c86p-4F, 0x1.b63eap-7F, 0x1.20738p-10F,
       0x1.b44d0cp-15F, 0x1.6e9e64p-20F}};
  // clang-format on
  const Vec t = lesser_of(c(3.94F), abs_(x));                        // erf is 1 from 3.92 on
  const IVec piece = bits(fma(t, c(0x1.e61372p+0F), c(0x1.8p23F)));  // of width 0.52667
  const Vec centre = lookup(kCentre, piece);
  const Vec u = t - centre;
  Vec p = lookup(kRest[0], piece);
  for (int i = 1; i < 7; ++i) p = fma(p, u, lookup(kRest[i], piece));
  const Vec base = select(centre == zero(), t, lookup(kAtCentre, piece));
  return copysign_(fused(p, u, base), x);
}

/// 1 / (1 + exp(-x)), by exp(-|x|): nothing overflows, and small results keep their precision.
TANDEM_INLINE Vec sigmoid_(Vec x) {
  const Vec e = exp_in_range(greater_of(c(-105), -abs_(x)));
  return select(x >= zero(), c(1), e) / (c(1) + e);
}

/// log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|)).
TANDEM_INLINE Vec softplus_(Vec x) {
  const Vec e = exp_in_range(greater_of(c(-105), -abs_(x)));
  const Mask big = e > c(0x1.555556p-2F);  // 1 + e > 4/3: halve it
  const Vec f = select(big, fused(e, c(0.5F), c(-0.5F)), e);
  return greater_of(zero(), x) + (select(big, c(kLn2High), zero()) + log1p_in_range(f));
}

/// The reduction by pi/2 of `count` large numbers, infinities or NaN: integer arithmetic with the
/// 96 bits of 2/pi that matter (Payne and Hanek).
[[maybe_unused]] static void reduce_large(const float* x, float* r, int32_t* quadrant) {
  static constexpr uint32_t kTwoOverPi[] = {0x00000000, 0xa2f9836e, 0x4e441529,
                                            0xfc2757d1, 0xf534ddc0, 0xdb629599,
                                            0x3c439041, 0xfe5163ab, 0xdebbc561};
  for (int i = 0; i < kWidth; ++i) {
    uint32_t word;
    __builtin_memcpy(&word, &x[i], 4);
    const uint32_t biased = (word >> 23) & 0xff;
    if (biased == 0xff) {
      r[i] = __builtin_nanf("");
      quadrant[i] = 0;
      continue;
    }
    if (biased < 127 + 16) continue;  // not large
    const uint64_t mantissa = (word & 0x7fffffU) | 0x800000U;
    // x = mantissa 2^(biased - 150): bits of 2/pi that give multiples of 4 are skipped.
    const uint32_t start = biased - 120;
    const uint32_t* from = kTwoOverPi + start / 32;
    const uint32_t shift = start % 32;
    uint64_t window[3];
    for (int w = 0; w < 3; ++w) {
      const uint64_t pair = (static_cast<uint64_t>(from[w]) << 32) | from[w + 1];
      window[w] = (pair << shift) >> 32;
    }
    uint64_t product = (mantissa * window[0]) << 32;  // x * 2/pi modulo 4, times 2^62
    product += mantissa * window[1] + ((mantissa * window[2]) >> 32);
    const uint64_t nearest = (product + (1ULL << 61)) >> 62;
    const auto fraction = static_cast<int64_t>(product - (nearest << 62));
    const double reduced = static_cast<double>(fraction) * (1.5707963267948966 * 0x1p-62);
    const bool negative = (word >> 31) != 0;
    r[i] = static_cast<float>(negative ? -reduced : reduced);
    quadrant[i] = static_cast<int32_t>(negative ? 0 - nearest : nearest);
  }
}

/// sin(x + quarter * pi/2)
template <int quarter>
TANDEM_INLINE Vec sine(Vec x) {
  // Adding 1.5 * 2^23 leaves the nearest integer in the low bits.
  const Vec shifted = fma(x, c(0x1.45f306p-1F), c(0x1.8p23F));
  IVec quadrant = bits(shifted);
  const Vec n = shifted - c(0x1.8p23F);
  Vec r = fused(n, c(-0x1.921fb6p+0F), x);
  r = fused(n, c(0x1.777a5cp-25F), r);
  r = fused(n, c(0x1.ee59dap-50F), r);
  if (any(!(abs_(x) < c(1e5F)))) {
    float values[kWidth], rest[kWidth];
    int32_t quadrants[kWidth];
    store(values, x);
    store(rest, r);
    istore(quadrants, quadrant);
    reduce_large(values, rest, quadrants);
    r = load(rest);
    quadrant = iload(quadrants);
  }
  const Vec s = r * r;
  Vec p = c(0x1.7c2d58p-19F);
  p = fma(p, s, c(-0x1.a05956p-13F));
  p = fma(p, s, c(0x1.111174p-7F));
  p = fma(p, s, c(-0x1.555556p-3F));
  const Vec of_sine = fused(p, s * r, r);
  Vec q = c(0x1.99e714p-16F);
  q = fma(q, s, c(-0x1.6c0c26p-10F));
  q = fma(q, s, c(0x1.55554ap-5F));
  q = fma(q, s, c(-0.5F));
  const Vec of_cosine = fused(q, s, c(1));
  quadrant = quadrant + iset1(quarter);
  const Mask odd = (quadrant & iset1(1)) == iset1(1);
  return from_bits(bits(select(odd, of_cosine, of_sine)) ^ shl<30>(quadrant & iset1(2)));
}

TANDEM_INLINE Vec sin_(Vec x) { return select(x == zero(), x, sine<0>(x)); }
TANDEM_INLINE Vec cos_(Vec x) { return sine<1>(x); }

/// x^y = exp(y log x), with the logarithm and the product in two floats each. Special cases as in
/// C99.
TANDEM_INLINE Vec pow_(Vec x, Vec y) {
  const Vec base = abs_(x);
  // log(base) = 2 atanh(q) + n ln 2, q = (m - 1) / (m + 1), m in [sqrt(1/2), sqrt(2))
  const Mask denormal = c(0x1p-126F) > base;
  const IVec i = bits(select(denormal, base * c(0x1p23F), base));
  const IVec exponent = (i - iset1(0x3f3504f3)) & iset1(static_cast<int32_t>(0xff800000U));
  const Vec n = to_float(shr_signed<23>(exponent)) - select(denormal, c(23), zero());
  const Vec m = from_bits(i - exponent);
  const Vec less = m - c(1);
  const Vec inverse = c(1) / (m + c(1));
  const Vec q = less * inverse;
  const Vec q_low = inverse * fused(q, -less, fused(q, c(-2), less));
  const Vec s = q * q;
  Vec p = c(0x1.f16124p-4F);
  p = fma(p, s, c(0x1.23d314p-3F));
  p = fma(p, s, c(0x1.999c28p-3F));
  p = fma(p, s, c(0x1.555554p-2F));
  const Vec s_low = fused(q, c(2) * q_low, fused(q, q, -s));
  const Vec cube = s * q;
  const Vec cube_low = fused(s, q_low, fused(s_low, q, fused(s, q, -cube)));
  const Vec rest = fused(p, cube, fused(p, cube_low, q_low));
  const Vec twice = c(2) * q;
  const Vec sum = fused(n, c(kLn2High), twice);
  const Vec sum_low = fused(n, c(kLn2Low), fused(c(2), rest, twice - fused(n, c(-kLn2High), sum)));
  const Vec log_high = sum + sum_low;
  const Vec log_low = (sum - log_high) + sum_low;
  // y log(base)
  const Vec product = log_high * y;
  const Vec product_low = fused(log_low, y, fused(log_high, y, -product));
  const Mask in_range = abs_(product) < c(110);
  const Vec bounded = lesser_of(c(90), greater_of(c(-110), product));
  Vec z = exp_in_range(bounded, select(in_range, product_low, zero()));

  const Mask base_ends = (base == zero()) | (base == c(kInfinity));
  z = select(base_ends,
             select((base == zero()) & (y > zero()), zero(),
                    select((base > zero()) & (y < zero()), zero(), c(kInfinity))),
             z);
  z = select(base == c(1), c(1), z);
  const Mask whole = round_(y) == y;
  const Vec half = y * c(0.5F);
  const Mask odd = whole & (round_(half) != half);
  z = select(odd, copysign_(z, x), z);
  z = select((x < zero()) & (base < c(kInfinity)) & !whole, quiet_nan(), z);
  z = select(is_nan(x) | is_nan(y), quiet_nan(), z);
  return select((y == zero()) | (x == c(1)), c(1), z);
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
