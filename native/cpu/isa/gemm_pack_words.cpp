// Packing for types of more than one element a word: A made of whole words, B in panels of words.
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

// `rows` <= group rows of elements interleaved to words: out[j] = elements j of each row.
void interleave(const char* src, int64_t src_row, int bytes, int rows, int64_t columns, char* out) {
  for (int64_t j = 0; j < columns; j += kLanes) {
    const int count = static_cast<int>(least(columns - j, kLanes));
    const char* p = src + j * bytes;
    Words words;
    if (bytes == 2) {
      words = load_u16(p, count);
      if (rows > 1) words = words | shl<16>(load_u16(p + src_row, count));
    } else {
      words = load_u8(p, count);
      if (rows > 1) words = words | shl<8>(load_u8(p + src_row, count));
      if (rows > 2) words = words | shl<16>(load_u8(p + 2 * src_row, count));
      if (rows > 3) words = words | shl<24>(load_u8(p + 3 * src_row, count));
    }
    store_words(out + j * 4, words);
  }
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
    uint32_t word = 0;
    if (w == whole) {
      std::memcpy(&word, src + w * 4, static_cast<size_t>(bytes % 4));
      word ^= flip;
    }
    std::memcpy(out + w * 4, &word, 4);
  }
}

// A row of bytes as 16-bit integers.
void widen_row(const char* src, int64_t stride, int64_t k, uint8_t flip, int64_t words, char* out) {
  auto* to = reinterpret_cast<uint16_t*>(out);
  for (int64_t i = 0; i < k; ++i)
    to[i] = static_cast<uint8_t>(static_cast<uint8_t>(src[i * stride]) ^ flip);
  for (int64_t i = k; i < 2 * words; ++i) to[i] = 0;
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
  }
  for (; w < plan.k_words; ++w) {
    const int count = static_cast<int>(most(0, least(group, d.k - w * group)));
    for (int j = 0; j < width; ++j) {
      const uint32_t x =
          j < columns ? gather_word(b + j * b_col + w * group * bytes, bytes, bytes, count) : 0;
      std::memcpy(out + (w * width + j) * word, &x, static_cast<size_t>(word));
    }
  }
}

// The words of whole pairs of rows of a whole panel; returns how many those are.
int64_t pack_pairs_of_rows(const GemmDesc& d, const char* b, char* out) {
  const int64_t b_row = d.b_row * 2, pairs = d.k / 2;
  for (int64_t w = 0; w < pairs; ++w, b += 2 * b_row, out += kPanelColumns * 4) {
    Words words[2];
    interleave_u16(b, b + b_row, words);
    store_words(out, words[0]);
    store_words(out + kLanes * 4, words[1]);
  }
  return pairs;
}

// One panel of B from rows.
void pack_rows(const GemmPlan& plan, const char* b, int columns, int width, char* out) {
  const GemmDesc& d = plan.desc;
  const int bytes = static_cast<int>(element_bytes(d.type));
  const int group = d.kernels->group, word = d.kernels->b_word;
  const int64_t b_row = d.b_row * bytes;
  const int64_t row = int64_t{width} * word;
  int64_t w = 0;
  if (bytes == 2 && columns == kPanelColumns) w = pack_pairs_of_rows(d, b, out);
  for (out += w * row; w < plan.k_words; ++w, out += row) {
    const int count = static_cast<int>(most(0, least(group, d.k - w * group)));
    std::memset(out, 0, static_cast<size_t>(row));
    if (count == 0) continue;
    const char* rows = b + w * group * b_row;
    if (word == 4) {
      interleave(rows, b_row, bytes, count, columns, out);
      continue;
    }
    for (int j = 0; j < columns; ++j) {
      const uint32_t x = gather_word(rows + j, b_row, 1, count);
      std::memcpy(out + j * 2, &x, 2);
    }
  }
}

void sum_columns(const GemmDesc& d, const char* b, int columns, int width, int32_t* sums) {
  for (int j = 0; j < width; ++j) sums[j] = 0;
  if (d.b_row == 1) {
    for (int j = 0; j < columns; ++j) {
      const auto* column = reinterpret_cast<const int8_t*>(b) + j * d.b_col;
      int32_t sum = 0;
      for (int64_t i = 0; i < d.k; ++i) sum += column[i];
      sums[j] = sum;
    }
    return;
  }
  for (int64_t i = 0; i < d.k; ++i) {
    const auto* row = reinterpret_cast<const int8_t*>(b) + i * d.b_row;
    for (int j = 0; j < columns; ++j) sums[j] += row[j * d.b_col];
  }
}

}  // namespace

void pack_a_words(const GemmPlan& plan, const char* a, int64_t rows, int64_t k, int64_t words,
                  char* panel) {
  const GemmDesc& d = plan.desc;
  const int bytes = static_cast<int>(element_bytes(d.type));
  if (plan.a_stride == 0) {  // bfloat16 with a_row == 1
    const int64_t a_col = d.a_col * 2;
    for (int64_t w = 0; w < words; ++w)
      interleave(a + 2 * w * a_col, a_col, 2, static_cast<int>(least(2, k - 2 * w)), rows,
                 panel + w * kPackedRows * 4);
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

void pack_b_words(const GemmPlan& plan, const char* b, int64_t n, int64_t p0, int64_t p1,
                  char* packed, int32_t* sums) {
  const GemmDesc& d = plan.desc;
  for (int64_t p = p0; p < p1; ++p) {
    const int64_t first = p * kPanelColumns;
    const int columns = static_cast<int>(least(n - first, kPanelColumns));
    const int width = columns > kLanes ? kPanelColumns : kLanes;
    const char* from = b + first * d.b_col * element_bytes(d.type);
    char* out = packed + first * plan.k_words * d.kernels->b_word;
    if (d.b_row == 1)
      pack_columns(plan, from, columns, width, out);
    else
      pack_rows(plan, from, columns, width, out);
    if (d.type == GEMM_S8) sum_columns(d, from, columns, width, sums + first);
  }
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
