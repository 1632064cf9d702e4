// Attention's products of numbers of 16 bits, bfloat16 or float16: tiles are rounded once, on their
// way to shared memory, and scores go from the registers that hold their sums into the next
// product. The fragments of device/mma.cuh come of pieces of 8 x 8 numbers. With i a lane's number,
// it says where a row begins:
//   a of 16 x 16 numbers: row i % 16, column 8 (i / 16): the four words of a
//   b of 16 x 16, from a tile whose rows are b's columns: row i % 8 + 8 (i / 16), column 8 for odd
//     i / 8: the two words of b's left 8 columns, then those of its right
//   b of 16 x 16, from a tile whose rows are b's, transposed: row i % 16, column 8 (i / 16): the
//   same
// And a lane's sums d of two neighbouring 16 x 8 tiles are, in pairs, the words of a with these 16
// columns: (g, 2t) and (g + 8, 2t) of the left tile, then of the right.
#pragma once

#include "cuda/device/attention.cuh"
#include "cuda/device/pieces.cuh"
#include "cuda/device/result.cuh"

namespace tandem::cuda {

/// Columns of a tile of scores, in tiles of the instructions; steps of a product over 64 numbers.
inline constexpr int kScoreTiles = kAttentionRows / kTileColumns;
inline constexpr int kSteps = kAttentionDepth / 16;

/// A part of a tile of `rows` x `columns` floats on its way to shared memory, in registers.
template <int rows, int columns>
struct HeldTile {
  static constexpr int kInRow = columns / 4;
  static constexpr int kCount = rows * kInRow / kAttentionThreads;
  static constexpr int kRowsApart = kAttentionThreads / kInRow;
  static_assert(kAttentionThreads % kInRow == 0 && rows % kRowsApart == 0);
  float4 quads[kCount];

  /// Reads rows from `row` and columns from `column` on; zeros where there are none.
  TANDEM_DEVICE void fetch(const HeadRows& from, int64_t row, int64_t column, bool whole_quads) {
    const int64_t first = row + threadIdx.x / kInRow;
    const int64_t at = column + threadIdx.x % kInRow * 4;
    const float* data = from.data + first * from.stride + at;
    const int64_t apart = kRowsApart * from.stride;
    // this lane's rows that are there, and the numbers of each
    const int64_t rows_there = at < from.columns ? from.rows - first : 0;
    const int64_t there = from.columns - at;
#pragma unroll
    for (int i = 0; i < kCount; ++i) quads[i] = make_float4(0.0F, 0.0F, 0.0F, 0.0F);
    if (whole_quads) {
#pragma unroll
      for (int i = 0; i < kCount; ++i, data += apart) {
        if (i * kRowsApart < rows_there) quads[i] = *reinterpret_cast<const float4*>(data);
      }
      return;
    }
#pragma unroll
    for (int i = 0; i < kCount; ++i, data += apart) {
      if (i * kRowsApart >= rows_there) continue;
      quads[i].x = data[0];
      if (there > 1) quads[i].y = data[1];
      if (there > 2) quads[i].z = data[2];
      if (there > 3) quads[i].w = data[3];
    }
  }

  /// Rounds what was read and writes it, with `columns` + 8 numbers between rows.
  template <Arithmetic kind>
  TANDEM_DEVICE void put(uint16_t* to) const {
    to += threadIdx.x / kInRow * (columns + 8) + threadIdx.x % kInRow * 4;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const float4& quad = quads[i];
      *reinterpret_cast<uint2*>(to + i * kRowsApart * (columns + 8)) =
          make_uint2(to_pair<kind>(quad.x, quad.y), to_pair<kind>(quad.z, quad.w));
    }
  }
};

/// Half of a tile's rows, which a lane holds in half the registers.
template <int columns>
struct HeldHalf : HeldTile<kAttentionRows / 2, columns> {
  static constexpr int kRows = kAttentionRows / 2;
  using Tile = HeldTile<kRows, columns>;

  /// Of the tile of rows from `row` on, 16 bytes at a time; `half`: 0 or 1.
  TANDEM_DEVICE void fetch_half(const HeadRows& from, int64_t row, int half, int64_t column) {
    Tile::fetch(from, row + half * kRows, column, true);
  }
  template <Arithmetic kind>
  TANDEM_DEVICE void put_half(uint16_t* tile, int half) const {
    Tile::template put<kind>(tile + half * kRows * (columns + 8));
  }
};

/// Copies a whole tile at once.
template <Arithmetic kind, int rows, int columns>
TANDEM_DEVICE void copy_tile(uint16_t* to, const HeadRows& from, int64_t row, int64_t column,
                             bool whole_quads) {
  HeldTile<rows, columns> tile;
  tile.fetch(from, row, column, whole_quads);
  tile.template put<kind>(to);
}

/// The columns of two neighbouring 16 x 8 tiles.
template <Arithmetic kind, int row_tiles, int tiles>
TANDEM_DEVICE void add_two_tiles(Accumulators<tiles> (&sums)[row_tiles], int left,
                                 const uint32_t (&a)[row_tiles][4], const uint32_t (&b)[4]) {
  const uint32_t columns[2][2] = {{b[0], b[1]}, {b[2], b[3]}};
#pragma unroll
  for (int r = 0; r < row_tiles; ++r) {
    mma_pairs<kind>(sums[r].at[left], a[r], columns[0]);
    mma_pairs<kind>(sums[r].at[left + 1], a[r], columns[1]);
  }
}

/// sums += a b^T over 64 numbers, or 16 of them a step from `begin` to `end`: `a` points to the
/// warp's rows of a tile, `b` to a tile whose rows are the columns of the result.
template <Arithmetic kind, int begin = 0, int end = kSteps, int row_tiles>
TANDEM_DEVICE void add_along(Accumulators<kScoreTiles> (&sums)[row_tiles], const uint16_t* a,
                             const uint16_t* b) {
  const unsigned lane = threadIdx.x % 32;
  a += lane % 16 * kHalfStride + lane / 16 * 8;
  b += (lane % 8 + lane / 16 * 8) * kHalfStride + lane / 8 % 2 * 8;
#pragma unroll 2
  for (int step = begin; step < end; ++step) {
    uint32_t rows[row_tiles][4];
#pragma unroll
    for (int r = 0; r < row_tiles; ++r)
      load_pieces(rows[r], a + r * kTileRows * kHalfStride + step * 16);
#pragma unroll
    for (int tile = 0; tile < kScoreTiles; tile += 2) {
      uint32_t columns[4];
      load_pieces(columns, b + tile * kTileColumns * kHalfStride + step * 16);
      add_two_tiles<kind>(sums, tile, rows, columns);
    }
  }
}

/// sums += scores b: a warp's scores, rounded, and a tile `b` with a row for each of their columns.
template <Arithmetic kind, int row_tiles, int tiles>
TANDEM_DEVICE void add_across(Accumulators<tiles> (&sums)[row_tiles],
                              const Accumulators<kScoreTiles> (&scores)[row_tiles],
                              const uint16_t* b) {
  constexpr int kStride = tiles * kTileColumns + 8;
  const unsigned lane = threadIdx.x % 32;
  b += lane % 16 * kStride + lane / 16 * 8;
#pragma unroll
  for (int step = 0; step < kScoreTiles / 2; ++step) {
    uint32_t rows[row_tiles][4];
#pragma unroll
    for (int r = 0; r < row_tiles; ++r) {
      const float (&left)[4] = scores[r].at[2 * step];
      const float (&right)[4] = scores[r].at[2 * step + 1];
      rows[r][0] = to_pair<kind>(left[0], left[1]);
      rows[r][1] = to_pair<kind>(left[2], left[3]);
      rows[r][2] = to_pair<kind>(right[0], right[1]);
      rows[r][3] = to_pair<kind>(right[2], right[3]);
    }
#pragma unroll
    for (int tile = 0; tile < tiles; tile += 2) {
      uint32_t columns[4];
      load_transposed(columns, b + step * 16 * kStride + tile * kTileColumns);
      add_two_tiles<kind>(sums, tile, rows, columns);
    }
  }
}

inline constexpr float kLog2OfE = 1.4426950408889634F;

/// 2^x to 22 bits, 0 below 2^-126: what becomes a factor of 16 bits needs no more. Exactly 1 of 0.
TANDEM_DEVICE float power_of_two(float x) {
  float power;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));
  return power;
}

/// What of the scores of 16 rows with 64 columns there is: queries from `query` on and keys from
/// `key` on, or the other way round when `transposed`.
template <bool transposed>
struct Sight {
  static constexpr int kQueries = transposed ? kAttentionRows : kTileRows;
  static constexpr int kKeys = transposed ? kTileRows : kAttentionRows;
  int queries, keys;  // there are, up to some more than a tile has
  int ahead;          // how far the last key that the first query sees is from the first key
  const float* mask;  // of this lane's first element

  TANDEM_DEVICE Sight(const Attention& a, const float* whole_mask, int64_t query, int64_t key) {
    const AttentionLayout& p = a.layout;
    queries = near(p.time - query);
    keys = near(p.keys - key);
    ahead = a.causal ? near(query - key) : kQueries + kKeys;
    mask = whole_mask;
    if (mask != nullptr) {
      mask +=
          (query + (transposed ? column_of_element(0, 0) : row_of_element(0))) * p.mask_strides[2] +
          (key + (transposed ? row_of_element(0) : column_of_element(0, 0))) * p.mask_strides[3];
    }
  }
  /// Whether scores are products times the scale, all of them.
  [[nodiscard]] TANDEM_DEVICE bool is_plain() const {
    return mask == nullptr && queries >= kQueries && keys >= kKeys && ahead >= kKeys - 1;
  }
  /// As seen_score(), of element `e` of a tile; the next tile's is asked for after next_tile().
  TANDEM_DEVICE float score(const Attention& a, float product, int tile, int e) const {
    const int row = row_of_element(e);
    const int column = column_of_element(tile, e);
    const int q = transposed ? column : row;
    const int k = transposed ? row : column;
    if (q >= queries || k >= keys || k > q + ahead) return -INFINITY;
    if (mask == nullptr) return __fmul_rn(product, a.scale);
    return fmaf(product, a.scale, mask[e / 2 * 8 * along_rows(a) + e % 2 * along_columns(a)]);
  }
  TANDEM_DEVICE void next_tile(const Attention& a) {
    if (mask != nullptr) mask += kTileColumns * along_columns(a);
  }

 private:
  /// Within what rows of a tile are compared with.
  TANDEM_DEVICE static int near(int64_t n) {
    constexpr int64_t kFar = 1 << 20;
    return static_cast<int>(n > kFar ? kFar : n < -kFar ? -kFar : n);
  }
  /// Between the mask's numbers of neighbouring rows, and columns.
  TANDEM_DEVICE static int64_t along_rows(const Attention& a) {
    return a.layout.mask_strides[transposed ? 3 : 2];
  }
  TANDEM_DEVICE static int64_t along_columns(const Attention& a) {
    return a.layout.mask_strides[transposed ? 2 : 3];
  }
};

/// Turns products into scores.
template <bool transposed>
TANDEM_DEVICE void see(const Attention& a, Sight<transposed> sight, Scores& scores) {
#pragma unroll
  for (int i = 0; i < kScoreTiles; ++i) {
#pragma unroll
    for (int e = 0; e < 4; ++e) scores.at[i][e] = sight.score(a, scores.at[i][e], i, e);
    sight.next_tile(a);
  }
}
/// The same where they are plain.
TANDEM_DEVICE void scale_all(const Attention& a, Scores& scores) {
#pragma unroll
  for (int i = 0; i < kScoreTiles; ++i) {
#pragma unroll
    for (int e = 0; e < 4; ++e) scores.at[i][e] = __fmul_rn(scores.at[i][e], a.scale);
  }
}

/// Rows of one head of a result, the first element at `start`.
struct HeadResult {
  Result to;
  int64_t start, stride, rows, columns;

  TANDEM_DEVICE HeadResult(const Result& result, const HeadView& view, int64_t matrix,
                           int64_t heads, int64_t row_count, int64_t column_count)
      : to(result),
        start(head_start(view, matrix, heads)),
        stride(view.row),
        rows(row_count),
        columns(column_count) {}
};

/// Writes 16 rows of a warp, times `factor`, to rows from `row` and columns from `column` on.
template <int tiles>
TANDEM_DEVICE void write_rows(const Accumulators<tiles>& sums, float factor, const HeadResult& head,
                              int64_t row, int64_t column, bool whole_quads) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int64_t r = row + row_of_element(2 * half);
    if (r >= head.rows) continue;
    const int64_t first = head.start + r * head.stride;
#pragma unroll
    for (int i = 0; i < tiles; ++i) {
      const int64_t c = column + column_of_element(i, 0);
      const float left = sums.at[i][2 * half] * factor;
      const float right = sums.at[i][2 * half + 1] * factor;
      if (whole_quads) {
        if (c < head.columns) store2(head.to, first + c, left, right);
      } else {
        if (c < head.columns) store(head.to, first + c, left);
        if (c + 1 < head.columns) store(head.to, first + c + 1, right);
      }
    }
  }
}

}  // namespace tandem::cuda
