#include "cpu/half_rows.h"

#include <bit>

namespace tandem::cpu {
namespace {

constexpr uint32_t kMagnitude = 0x7fffffffU;
constexpr uint32_t kInfinity = 0x7f800000U;
constexpr uint32_t kSign16 = 0x8000U;

uint16_t to_bfloat16(float x) {
  const auto bits = std::bit_cast<uint32_t>(x);
  if ((bits & kMagnitude) > kInfinity) return static_cast<uint16_t>(bits >> 16 | 0x40U);
  return static_cast<uint16_t>((bits + 0x7fffU + (bits >> 16 & 1U)) >> 16);
}

uint16_t to_float16(float x) {
  constexpr uint32_t kBeyond = 0x477ff000U;       // 65520, half way to what would be 65536
  constexpr uint32_t kLeastNormal = 0x38800000U;  // 2^-14
  constexpr uint32_t kHalf = 0x3f000000U;         // 0.5, whose last place is 2^-24
  const auto bits = std::bit_cast<uint32_t>(x);
  const uint32_t sign = bits >> 16 & kSign16;
  const uint32_t magnitude = bits & kMagnitude;
  uint32_t half = 0;
  if (magnitude > kInfinity) {
    half = 0x7e00U;
  } else if (magnitude >= kBeyond) {
    half = 0x7c00U;
  } else if (magnitude < kLeastNormal) {
    half = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5F) - kHalf;
  } else {
    half = (magnitude + 0xfffU + (magnitude >> 13 & 1U) - (kLeastNormal - (1U << 23))) >> 13;
  }
  return static_cast<uint16_t>(sign | half);
}

float from_bfloat16(uint16_t x) { return std::bit_cast<float>(static_cast<uint32_t>(x) << 16); }

float from_float16(uint16_t x) {
  constexpr uint32_t kBias = 112U << 23;  // of the exponents
  const uint32_t sign = (x & kSign16) << 16;
  const uint32_t magnitude = x & 0x7fffU;
  uint32_t bits = (magnitude << 13) + kBias;
  if (magnitude < 0x400U) bits = std::bit_cast<uint32_t>(static_cast<float>(magnitude) * 0x1p-24F);
  if (magnitude >= 0x7c00U) bits = magnitude << 13 | kInfinity;
  return std::bit_cast<float>(bits | sign);
}

}  // namespace

HalfRows half_rows(const Tensor& halves, int32_t half_operand, int32_t float_operand) {
  const int64_t columns = halves.rank == 0 ? 1 : halves.dims[halves.rank - 1];
  return {columns == 0 ? 0 : halves.numel / columns,
          columns,
          halves.padding,
          half_operand,
          float_operand,
          halves.dtype == DType::kBFloat16};
}

void narrow_rows(const void* params, void* const* operands, int64_t row,
                 const TileContext& /*context*/) {
  const auto& p = *static_cast<const HalfRows*>(params);
  const auto* x = static_cast<const float*>(operands[p.floats]) + row * p.columns;
  auto* y = static_cast<uint16_t*>(operands[p.halves]) + row * (p.columns + p.padding);
  for (int64_t i = 0; i < p.columns; ++i) y[i] = p.bfloat16 ? to_bfloat16(x[i]) : to_float16(x[i]);
  for (int64_t i = p.columns; i < p.columns + p.padding; ++i) y[i] = 0;
}

void widen_rows(const void* params, void* const* operands, int64_t row,
                const TileContext& /*context*/) {
  const auto& p = *static_cast<const HalfRows*>(params);
  const auto* x = static_cast<const uint16_t*>(operands[p.halves]) + row * (p.columns + p.padding);
  auto* y = static_cast<float*>(operands[p.floats]) + row * p.columns;
  for (int64_t i = 0; i < p.columns; ++i)
    y[i] = p.bfloat16 ? from_bfloat16(x[i]) : from_float16(x[i]);
}

}  // namespace tandem::cpu
