// How sums of a warp that multiplies in a group (device/wgmma.cuh) become results: 16 rows and 64
// columns at a time pass through shared memory of the warp, so that every store is a part of a row
// that lanes hold beside each other.
#pragma once

#include "cuda/device/byte_result.cuh"

namespace tandem::cuda {

constexpr int kPieceRows = 16;
constexpr int kPieceColumns = 64;
constexpr int kPiece = kPieceRows * kPieceColumns;

/// Where a pair of sums lies in a piece, `column` even: rows meet different banks.
TANDEM_DEVICE int piece_place(int row, int column) {
  return row * kPieceColumns + ((column / 8) ^ (row % 4)) * 8 + column % 8;
}

/// A warp's piece of the sums of its rows, to its shared memory.
template <int columns>
TANDEM_DEVICE void stage_piece(const int32_t (&sums)[columns / 2], int32_t* staged, int piece) {
  const int lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll
  for (int of = 0; of < columns / kPieceColumns; ++of) {
    if (of != piece) continue;
#pragma unroll
    for (int j = 0; j < kPieceColumns / 8; ++j) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int at = of * kPieceColumns / 2 + 4 * j + 2 * half;
        int32_t* const to = staged + piece_place(lane / 4 + 8 * half, 8 * j + lane % 4 * 2);
        *reinterpret_cast<int2*>(to) = make_int2(sums[at], sums[at + 1]);
      }
    }
  }
}

/// Two results beside each other; the second may lie outside.
template <typename T, typename Pair>
TANDEM_DEVICE void store_pair(void* y, int64_t at, T first, T second, bool paired, bool both) {
  T* const to = static_cast<T*>(y) + at;
  if (paired) {
    *reinterpret_cast<Pair*>(to) = Pair{first, second};
    return;
  }
  to[0] = first;
  if (both) to[1] = second;
}

/// A lane's two columns of a piece.
struct PieceColumns {
  ByteColumn first, second;
  int64_t at;
  bool there, both, paired;
};

TANDEM_DEVICE PieceColumns piece_columns(const ByteProduct& p, int64_t column) {
  PieceColumns c{};
  c.at = column;
  c.there = column < p.n;
  c.both = column + 1 < p.n;
  c.paired = c.both && p.result.columns % 2 == 0;
  if (c.there) c.first = byte_column(p.result, column);
  if (c.both) c.second = byte_column(p.result, column + 1);
  return c;
}

TANDEM_DEVICE void finish_pair(const ByteResult& r, const PieceColumns& c, int64_t row, float first,
                               float second) {
  const int64_t at = row * r.columns + c.at;
  if (r.to_bytes) {
    store_pair<uint8_t, uchar2>(r.y, at, result_byte(r, first), result_byte(r, second), c.paired,
                                c.both);
  } else {
    store_pair<float, float2>(r.y, at, first, second, c.paired, c.both);
  }
}

/// Finishes a piece; `row` is the warp's first, and a lane knows of row `lane` of it.
TANDEM_DEVICE void finish_piece(const ByteProduct& p, const int32_t* staged, int64_t row,
                                const ByteRow& own, int64_t column) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const PieceColumns c = piece_columns(p, column + 2 * lane);
  const int rows =
      row >= p.m ? 0 : static_cast<int>(p.m - row < kPieceRows ? p.m - row : kPieceRows);
  const ByteResult& r = p.result;
  const auto scaled = [&](int i, float& first, float& second) {
    const ByteRow of_row{__shfl_sync(0xFFFFFFFFU, own.zero, i),
                         __shfl_sync(0xFFFFFFFFU, own.scale, i)};
    const int2 sums = *reinterpret_cast<const int2*>(staged + piece_place(i, 2 * lane));
    first = scaled_sum(c.first, of_row, sums.x);
    second = scaled_sum(c.second, of_row, sums.y);
  };
  if (r.activation < 0 || r.activation == static_cast<int32_t>(Op::relu)) {
    const bool bounded = r.activation >= 0;
#pragma unroll 4
    for (int i = 0; i < rows; ++i) {
      float first = 0;
      float second = 0;
      scaled(i, first, second);
      if (bounded) first = fmaxf(first, 0.0F);
      if (bounded) second = fmaxf(second, 0.0F);
      if (c.there) finish_pair(r, c, row + i, first, second);
    }
    return;
  }
#pragma unroll 1
  for (int i = 0; i < rows; i += 2) {
    float v[4];  // rows beyond the last have sums, too: zeros
    scaled(i, v[0], v[1]);
    scaled(i + 1, v[2], v[3]);
    activate_here(r.activation, v, r.a, r.b);
    if (!c.there) continue;
    finish_pair(r, c, row + i, v[0], v[1]);
    if (i + 1 < rows) finish_pair(r, c, row + i + 1, v[2], v[3]);
  }
}

}  // namespace tandem::cuda
