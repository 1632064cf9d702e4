// Packing for types of more than one element a word: A made of whole words, B in panels of words.
#include "cpu/isa/byte_lanes.h"
#include "cpu/isa/gemm_kernel.h"

namespace tandem::cpu::TANDEM_ISA_NS {

namespace {

// Elements [k0, k0 + count) of `column` as one word of `bytes` bytes; missing ones are zero.
TANDEM_INLINE uint32_t gather_word(const char* column, int64_t stride, int bytes, int count) {
  uint32_t word = 0;
  for (int i = 0; i < count; ++i) {
    uint16_t element = 0;
    std::memcpy(&element, column + i * stride, static_cast<size_t>(bytes));
    word |= static_cast<uint32_t>(element) << (8 * bytes * i);
  }
  return word;
}

// Words j of `columns` <= 2 * kLanes columns from elements j of `rows` <= 4 / bytes rows.
template <int bytes>
TANDEM_INLINE void interleave(const char* src, int64_t src_row, int rows, int columns,
                              Words (&out)[2]) {
  const auto row = [&](int i) {
    if (i >= rows) return spread_word(0);
    return bytes == 2 ? load_halves(src + i * src_row, columns)
                      : load_wide_u8(src + i * src_row, columns);
  };
  if constexpr (bytes == 2) {
    interleave_halves(row(0), row(1), out);
  } else {
    interleave_halves(row(0) | shl<8>(row(1)), row(2) | shl<8>(row(3)), out);
  }
}

// The last `left` < 4 of `all` bytes that end at src + left, zeros behind them.
TANDEM_INLINE uint32_t first_bytes(const char* src, int64_t left, int64_t all) {
  uint32_t word = 0;
  if (all >= 4) {
    if (left == 0) return 0;
    std::memcpy(&word, src + left - 4, 4);
    return word >> (8 * (4 - left));
  }
  std::memcpy(&word, src, static_cast<size_t>(left));
  return word;
}

// A row of A as words, each byte flipped by those of `flip`; zeros up to `words`.
void copy_row(const char* src, int64_t bytes, uint32_t flip, int64_t words, char* out) {
  const Words flips = spread_word(static_cast<int32_t>(flip));
  const int64_t whole = bytes / 4;
  int64_t w = 0;
  for (; w + kLanes <= whole; w += kLanes)
    store_words(out + w * 4, load_words(src + w * 4) ^ flips);
  if (w < whole) {
    const int count = static_cast<int>(whole - w);
    store_words(out + w * 4, load_words(src + w * 4, count) ^ flips, count);
  }
  for (w = whole; w < words; ++w) {
    const uint32_t word = w == whole ? first_bytes(src + w * 4, bytes - w * 4, bytes) ^ flip : 0;
    std::memcpy(out + w * 4, &word, 4);
  }
}

// A row of bytes as 16-bit integers.
void widen_row(const char* src, int64_t stride, int64_t k, uint8_t flip, int64_t words, char* out) {
  auto* to = reinterpret_cast<uint16_t*>(out);
  int64_t i = 0;
  if (stride == 1) {
    const Words flips = spread_word(flip * 0x10001);
    for (; i + 2 * kLanes <= k; i += 2 * kLanes)
      store_words(to + i, load_wide_u8(src + i, 2 * kLanes) ^ flips);
  }
  for (; i < k; ++i) to[i] = static_cast<uint8_t>(static_cast<uint8_t>(src[i * stride]) ^ flip);
  for (; i < 2 * words; ++i) to[i] = 0;
}

// A row of `k` elements of A that do not lie side by side.
void gather_row(const char* src, const GemmDesc& d, int64_t k, uint32_t flip, int64_t words,
                char* out) {
  const int64_t bytes = element_bytes(d.type), group = d.kernels->group;
  for (int64_t w = 0; w < words; ++w) {
    const int count = static_cast<int>(most(0, least(group, k - w * group)));
    const uint32_t word = gather_word(src + w * group * d.a_col * bytes, d.a_col * bytes,
                                      static_cast<int>(bytes), count) ^
                          flip;
    std::memcpy(out + w * 4, &word, 4);
  }
}

// Whole pairs of words of two bytes of a panel from columns that are contiguous in k, `pairs` of
// them: transposed as words of four, whose halves then part.
void pack_column_pairs(const char* b, int64_t b_col, int columns, int width, int64_t pairs,
                       char* out) {
  constexpr int64_t kStep = 32;
  alignas(64) char square[kStep * kLanes * 4];
  for (int j = 0; j < width; j += kLanes) {
    const int some = static_cast<int>(most(0, least(columns - j, kLanes)));
    for (int64_t x = 0; x < pairs; x += kStep) {
      const int64_t count = least(kStep, pairs - x);
      transpose_strip(b + j * b_col + x * 4, b_col, some, count, square, kLanes);
      char* to = out + (2 * x * width + j) * 2;
      for (int64_t i = 0; i < count; ++i, to += 4 * width) {
        const Words both = load_words(square + i * kLanes * 4);
        store_u16(to, both);
        store_u16(to + 2 * width, shr_unsigned<16>(both));
      }
    }
  }
}

// One panel of B from columns that are contiguous in k.
void pack_columns(const GemmPlan& plan, const char* b, int columns, int width, char* out) {
  const GemmDesc& d = plan.desc;
  const int bytes = static_cast<int>(element_bytes(d.type));
  const int group = d.kernels->group, word = d.kernels->b_word;
  const int64_t b_col = d.b_col * bytes;
  int64_t w = 0;
  if (word == 4) {
    w = d.k / group;
    for (int j = 0; j < width; j += kLanes)
      transpose_strip(b + j * b_col, b_col, static_cast<int>(most(0, least(columns - j, kLanes))),
                      w, out + j * 4, width);
  } else {
    w = d.k / 4 * 2;
    pack_column_pairs(b, b_col, columns, width, w / 2, out);
  }
  for (; w < plan.k_words; ++w) {
    const int count = static_cast<int>(most(0, least(group, d.k - w * group)));
    for (int j = 0; j < width; ++j) {
      const char* from = b + j * b_col + w * group * bytes;
      uint32_t x = 0;
      if (j < columns)
        x = word == 4 ? first_bytes(from, count * bytes, d.k * bytes)
                      : gather_word(from, bytes, bytes, count);
      std::memcpy(out + (w * width + j) * word, &x, static_cast<size_t>(word));
    }
  }
}

// The words of one row of words of a panel of `columns` columns, `width` with those that do not
// exist, from `rows` rows of B.
template <int bytes, int group>
TANDEM_INLINE void put_panel(const char* b, int64_t b_row, int rows, int columns, int width,
                             char* out) {
  if constexpr (bytes * group == 2) {
    Words pairs = rows > 0 ? load_wide_u8(b, columns) : spread_word(0);
    if (rows > 1) pairs = pairs | shl<8>(load_wide_u8(b + b_row, columns));
    store_words(out, pairs, width / 2);
  } else {
    Words words[2];
    interleave<bytes>(b, b_row, rows, columns, words);
    store_words(out, words[0]);
    if (width > kLanes) store_words(out + kLanes * 4, words[1]);
  }
}

// One row of words of the whole panels [p0, p1), from `rows` rows of B.
template <int bytes, int group>
TANDEM_INLINE void put_panels(const char* b, int64_t b_row, int rows, int64_t p0, int64_t p1,
                              char* out, int64_t panel) {
  int64_t p = p0;
  if constexpr (group == 4) {
    for (; rows == group && p + 2 <= p1; p += 2) {
      Words words[4];
      interleave_bytes(b + p * kPanelColumns, b_row, words);
      for (int v = 0; v < 4; ++v)
        store_words(out + (p + v / 2) * panel + v % 2 * kLanes * 4, words[v]);
    }
  }
  for (; p < p1; ++p) {
    const char* const from = b + p * kPanelColumns * bytes;
    char* const to = out + p * panel;
    // Code of its own for what there is most of.
    if (rows == group)
      put_panel<bytes, group>(from, b_row, group, kPanelColumns, kPanelColumns, to);
    else
      put_panel<bytes, group>(from, b_row, rows, kPanelColumns, kPanelColumns, to);
  }
}

// Panels [p0, p1) of B from its rows, which are read from end to end: panel by panel they would be
// as many short pieces.
template <int bytes, int group>
void pack_rows(const GemmPlan& plan, const char* b, int64_t n, int64_t p0, int64_t p1,
               char* packed) {
  constexpr int kWord = bytes * group;
  const int64_t k = plan.desc.k, b_row = plan.desc.b_row * bytes;
  const int64_t full = most(p0, least(p1, n / kPanelColumns));
  const int64_t panel = kPanelColumns * plan.k_words * kWord;
  const int columns = static_cast<int>(n - full * kPanelColumns);
  const int width = columns > kLanes ? kPanelColumns : kLanes;
  const auto put = [&](int64_t w, int rows) {
    const char* const from = b + w * group * b_row;
    put_panels<bytes, group>(from, b_row, rows, p0, full, packed + w * kPanelColumns * kWord,
                             panel);
    if (full < p1)
      put_panel<bytes, group>(from + full * kPanelColumns * bytes, b_row, rows, columns, width,
                              packed + full * panel + w * width * kWord);
  };
  const int64_t whole = k / group;
  for (int64_t w = 0; w < whole; ++w) put(w, group);
  if (whole < plan.k_words) put(whole, static_cast<int>(k % group));
  for (int64_t w = whole + 1; w < plan.k_words; ++w) put(w, 0);
}

}  // namespace

void pack_a_words(const GemmPlan& plan, const char* a, int64_t rows, int64_t k, int64_t words,
                  char* panel) {
  const GemmDesc& d = plan.desc;
  const int bytes = static_cast<int>(element_bytes(d.type));
  if (plan.a_stride == 0) {  // bfloat16 with a_row == 1
    const int64_t a_col = d.a_col * 2;
    for (int64_t w = 0; w < words; ++w) {
      Words two[2];
      interleave<2>(a + 2 * w * a_col, a_col, static_cast<int>(least(2, k - 2 * w)),
                    static_cast<int>(rows), two);
      store_words(panel + w * kPackedRows * 4, two[0]);
      if (kPackedRows > kLanes) store_words(panel + (w * kPackedRows + kLanes) * 4, two[1]);
    }
    return;
  }
  // The kernels read unsigned bytes.
  const uint32_t flip = d.a_signed ? 0x80808080U : 0U;
  for (int64_t i = 0; i < rows; ++i) {
    const char* row = a + i * d.a_row * bytes;
    char* out = panel + i * plan.a_stride;
    if (d.type == GEMM_S8 && d.kernels->group == 2)
      widen_row(row, d.a_col, k, static_cast<uint8_t>(flip), words, out);
    else if (d.a_col == 1)
      copy_row(row, k * bytes, flip, words, out);
    else
      gather_row(row, d, k, flip, words, out);
  }
}

void sum_columns(const char* panel, int group, int64_t words, int64_t width, int32_t* sums) {
  for (int64_t j = 0; j < width; j += kLanes) {
    const char* from = panel + j * group;
    Words sum = spread_word(0);
    for (int64_t w = 0; w < words; ++w, from += width * group)
      sum = sum + sum_of_bytes(group == 4 ? load_byte_words<4>(from) : load_byte_words<2>(from));
    store_words(sums + j, sum);
  }
}

void pack_b_words(const GemmPlan& plan, const char* b, int64_t n, int64_t p0, int64_t p1,
                  char* packed, int32_t* sums) {
  const GemmDesc& d = plan.desc;
  const auto columns_of = [&](int64_t p) {
    return static_cast<int>(least(n - p * kPanelColumns, kPanelColumns));
  };
  const auto width_of = [&](int64_t p) { return columns_of(p) > kLanes ? kPanelColumns : kLanes; };
  const auto panel = [&](int64_t p) {
    return packed + p * kPanelColumns * plan.k_words * d.kernels->b_word;
  };
  if (d.b_row == 1) {
    for (int64_t p = p0; p < p1; ++p)
      pack_columns(plan, b + p * kPanelColumns * d.b_col * element_bytes(d.type), columns_of(p),
                   width_of(p), panel(p));
  } else if (d.type == GEMM_BF16) {
    pack_rows<2, 2>(plan, b, n, p0, p1, packed);
  } else if (d.kernels->group == 4) {
    pack_rows<1, 4>(plan, b, n, p0, p1, packed);
  } else {
    pack_rows<1, 2>(plan, b, n, p0, p1, packed);
  }
  if (d.type != GEMM_S8 || !sums) return;
  for (int64_t p = p0; p < p1; ++p)
    sum_columns(panel(p), d.kernels->group, plan.k_words, width_of(p), sums + p * kPanelColumns);
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
