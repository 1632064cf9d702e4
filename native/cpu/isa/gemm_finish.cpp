// Epilogues of pieces of C whose sums are in memory.
#include "cpu/isa/gemm_finish.h"

namespace tandem::cpu::TANDEM_ISA_NS {

namespace {

TANDEM_INLINE Lanes load_add(const MicroArgs& t, int row, int64_t column, int count) {
  const char* p = t.add + row * t.add_row;
  return t.add_bf16 ? load_bf16(p + column * 2, count)
                    : as_lanes(load_words(p + column * 4, count));
}

TANDEM_INLINE void store_floats(GemmElement type, char* row, int64_t column, Lanes x, int count) {
  if (type == GEMM_TO_BF16)
    store_bf16(row + column * 2, x, count);
  else
    store_words(row + column * 4, as_words(x), count);
}

}  // namespace

void finish_float_sums(const MicroArgs& t, const char* sums, int width) {
  const Lanes floor = spread(t.floor);
  for (int i = 0; i < t.rows; ++i) {
    char* c = t.c + i * t.c_row;
    for (int j = 0; j < t.columns; j += kLanes) {
      const int count = static_cast<int>(least(t.columns - j, kLanes));
      Lanes v = as_lanes(load_words(sums + (i * width + j) * 4));
      if (t.add) v = v + load_add(t, i, j, count);
      if (t.bias) v = v + load_lanes(t.bias + j, count);
      store_floats(t.c_type, c, j, greater_of(floor, v), count);
    }
  }
}

void finish_integer_sums(const MicroArgs& t, const char* sums, int width) {
  const Quantizer quantizer = quantizer_of(t);
  const Lanes floor = spread(t.floor);
  const bool bytes = t.c_type == GEMM_TO_S8 || t.c_type == GEMM_TO_U8;
  const Lanes unit = spread(bytes ? t.c_inverse : 1.0F);
  for (int i = 0; i < t.rows; ++i) {
    char* c = t.c + i * t.c_row;
    const Words row_zero = spread_word(t.row_zero ? t.row_zero[i] : 0);
    const Lanes row_scale = spread(t.row_scale ? t.row_scale[i] : 1.0F);
    for (int j = 0; j < t.columns; j += kLanes) {
      const int count = static_cast<int>(least(t.columns - j, kLanes));
      Words sum = load_words(sums + (i * width + j) * 4);
      if (t.row_zero) sum = sum - row_zero * column_sums(t, j);
      if (t.column_zero)
        sum = sum - spread_word(t.row_sums[i]) * load_words(t.column_zero + j, count);
      if (t.c_type == GEMM_TO_S32) {
        store_words(c + j * 4, sum, count);
        continue;
      }
      const Lanes scale = t.scale ? load_lanes(t.scale + j, count) * unit : unit;
      const Lanes bias = t.bias ? load_lanes(t.bias + j, count) * unit : spread(0.0F);
      Lanes v = fma(to_lanes(sum), scale * row_scale, bias);
      if (t.add) v = v + load_add(t, i, j, count);
      if (bytes)
        store_u8(c + j, quantize(quantizer, v), count);
      else
        store_words(c + j * 4, as_words(greater_of(floor, v)), count);
    }
  }
}

void store_row(const MicroArgs& t, const float* values, char* row) {
  const Quantizer quantizer = quantizer_of(t);
  const Lanes unit = spread(t.c_inverse);
  for (int j = 0; j < t.columns; j += kLanes) {
    const int count = static_cast<int>(least(t.columns - j, kLanes));
    const Lanes v = load_lanes(values + j, count);
    if (t.c_type == GEMM_TO_S8 || t.c_type == GEMM_TO_U8)
      store_u8(row + j, quantize(quantizer, v * unit), count);
    else
      store_floats(t.c_type, row, j, v, count);
  }
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
