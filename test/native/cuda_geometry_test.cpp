// The index arithmetic of CUDA kernels that plain C++ shares: windows, pixels and taps, pieces of
// sums, where the heads of an attention lie, and what shared memory its kernels ask for.
#include <array>
#include <vector>

#include "check.h"
#include "core/graph.h"
#include "cuda/host/attention_layout.h"
#include "cuda/host/channel_shape.h"
#include "cuda/host/conv_shape.h"
#include "cuda/host/windows.h"

using namespace tandem;
using namespace tandem::cuda;

namespace {

Tensor tensor(const Shape& shape) { return make_tensor(shape, DType::kFloat32); }

/// Whether pieces of `piece` take in all of `count`, and none of them is empty.
bool covers(int64_t pieces, int64_t piece, int64_t count) {
  return pieces * piece >= count && (pieces - 1) * piece < count;
}

}  // namespace

TEST(cuda_windows_cover_what_they_are_covered_by) {
  for (int64_t count = 1; count <= 5; ++count) {
    for (int64_t stride = 1; stride <= 6; ++stride) {
      for (int64_t padding = 0; 2 * padding <= count; ++padding) {
        constexpr int64_t kSize = 11;
        const int64_t windows = (kSize + 2 * padding - count) / stride + 1;
        const Window w{count, stride, padding};
        for (int64_t place = 0; place < kSize; ++place) {
          const Places found = covering(w, place, windows);
          for (int64_t i = 0; i < windows; ++i) {
            const Places covered = covered_by(w, i, kSize);
            const bool inside = place >= covered.begin && place < covered.end;
            CHECK(inside == (i >= found.begin && i < found.end));
          }
        }
      }
    }
  }
}

TEST(cuda_taps_of_x_are_windows_of_y) {
  for (const auto& [stride, dilation, padding] :
       std::vector<std::array<int64_t, 3>>{{1, 1, 0}, {2, 1, 1}, {3, 2, 2}, {1, 3, 4}}) {
    ops::ConvAttributes attributes;
    attributes.stride = {stride, 1};
    attributes.dilation = {dilation, dilation};
    attributes.padding = {padding, padding};
    const int64_t rows = (13 + 2 * padding - dilation * 2 - 1) / stride + 1;
    const int64_t columns = 9 + 2 * padding - dilation;
    const ConvShape s = conv_shape(tensor({2, 4, 13, 9}), tensor({2, 6, rows, columns}),
                                   tensor({6, 4, 3, 2}), attributes);
    CHECK(taps_of(s) == 6);
    int64_t pairs = 0;
    for (int64_t tap = 0; tap < taps_of(s); ++tap) {
      const Pixel offset = tap_offset(s, tap);
      for (int64_t y = 0; y < y_pixels(s); ++y) {
        const int64_t x = x_element(s, window_start(s, y), offset);
        if (x < 0) continue;
        ++pairs;
        CHECK(x < x_pixels(s));
        CHECK(y_element(s, padded_pixel(s, x), offset) == y);
      }
      for (int64_t x = 0; x < x_pixels(s); ++x) {
        const int64_t y = y_element(s, padded_pixel(s, x), offset);
        if (y >= 0) --pairs;
      }
    }
    CHECK(pairs == 0);  // as many one way as the other
  }
}

TEST(cuda_sums_are_cut_into_pieces_that_cover_them) {
  for (const int64_t n : {1, 2, 31, 700, 100000}) {
    for (const int64_t c : {1, 3, 64, 5000}) {
      for (const int64_t l : {1, 49, 3000}) {
        const ChannelShape s = cut_channels(n, c, l);
        CHECK(covers(s.pieces, s.samples, n));
        CHECK(s.pieces <= 128);
      }
    }
  }
  CHECK(cut_channels(0, 5, 1).pieces == 1);
  for (const int64_t sums : {1, 511, 513, 1000000}) {
    for (const int64_t blocks : {1, 20, 4000}) {
      for (const int64_t weights : {1, 100000, 1 << 26}) {
        const WeightPieces cut = weight_pieces(sums, blocks, weights);
        CHECK(covers(cut.pieces, cut.piece, sums));
        CHECK(cut.pieces == 1 || cut.pieces * weights <= 1 << 24);
      }
    }
  }
  CHECK(weight_pieces(0, 3, 10).pieces == 1);
}

TEST(cuda_attention_lies_where_its_shapes_say) {
  const Tensor q = tensor({2, 3, 5, 4});
  const Tensor k = tensor({2, 3, 7, 4});
  const Tensor v = tensor({2, 3, 7, 6});
  const Tensor mask = tensor({3, 1, 7});
  const AttentionLayout apart = attention_layout(0, q, &k, &v, &mask);
  CHECK(apart.heads == 3 && apart.time == 5 && apart.keys == 7);
  CHECK(apart.depth == 4 && apart.value_depth == 6);
  CHECK(apart.k.batch == 84 && apart.k.head == 28 && apart.k.row == 4);
  CHECK(apart.y.batch == 90 && apart.y.head == 30 && apart.y.row == 6);
  const int64_t strides[] = {0, 7, 0, 1};
  for (int i = 0; i < 4; ++i) CHECK(apart.mask_strides[i] == strides[i]);

  const Tensor joined = tensor({2, 5, 3 * 8});
  const AttentionLayout one = attention_layout(2, joined, nullptr, nullptr, nullptr);
  CHECK(one.depth == 4 && one.value_depth == 4 && one.keys == 5);
  CHECK(one.q.at == 0 && one.k.at == 8 && one.v.at == 16);
  CHECK(one.v.head == 4 && one.v.row == 24 && one.v.batch == 120);
  CHECK(one.y.row == 8 && one.y.batch == 40);

  const Tensor keys = tensor({2, 9, 2 * 8});
  const Tensor queries = tensor({2, 5, 8});
  const AttentionLayout two = attention_layout(2, queries, &keys, nullptr, nullptr);
  CHECK(two.keys == 9 && two.k.at == 0 && two.v.at == 8 && two.v.row == 16);
}

TEST(cuda_kernels_fit_shared_memory) {
  // rows of tiles begin where 16-byte accesses may
  CHECK(kAlongStride % 4 == 0 && kAcrossStride % 4 == 0);
  // and lie four, or eight, banks of 32 apart, so that the lanes of a product meet none twice
  CHECK(kAlongStride % 32 == 4 && kAcrossStride % 32 == 8);
  // rows of 16-bit numbers, too, of which eight at once are read by 16 bytes
  CHECK(kHalfStride % 8 == 0 && kHalfStride / 8 % 2 == 1);
  CHECK(half_attention_shared_bytes(64) <= attention_shared_bytes(64));
  CHECK(attention_shared_bytes(64) <= kMostSharedBytes);
  CHECK(attention_shared_bytes(128) <= kMostSharedBytes);
  CHECK(attention_grad_shared_bytes() <= kMostSharedBytes);
}
