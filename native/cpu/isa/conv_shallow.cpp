// Convolutions of few channels with kernels of 3 x 3, and the maxima of 2 x 2 of their pixels: the
// first layer of most networks that see images. Lanes are neighbouring windows of the maxima,
// which read 4 x 4 pixels: even and odd columns of some rows, copied apart with what padding adds.
#include "cpu/isa/conv.h"
#include "cpu/isa/winograd_lanes.h"

namespace tandem::cpu::TANDEM_ISA_NS {

namespace {

constexpr int64_t kMostShallow = 4;
// Time of a tile, beside which handing it out is little.
constexpr double kTileNanoseconds = 800;
constexpr double kSumsPerNanosecond = 3.0;
// Channels of y that are summed up together, as far as there are registers.
constexpr int kTogether = kWidth == 16 ? 2 : 1;

struct ShallowParams {
  GatheredProduct product;
  ConvShape shape;
  int64_t out_rows, out_columns;  // of maxima
  int64_t half;                   // floats of the even or the odd columns of a row
  int64_t per_tile;               // rows of maxima
  int64_t parts;                  // of an image
};

/// Even columns of a row, then odd ones.
void split_row(const ShallowParams& p, const float* plane, int64_t row, float* out) {
  const int64_t columns = p.shape.x_columns;
  const bool inside = row >= 0 && row < p.shape.x_rows;
  for (int64_t side = 0; side < 2; ++side, out += p.half) {
    for (int64_t j = 0; j < p.half; j += kLanes) {
      const int64_t first = 2 * j + side - p.shape.padding_columns;
      const uint32_t lanes = inside ? lanes_of_pairs(first, columns, kLanes) : 0;
      const float* x = plane + row * columns + first;
      store(out + j, lanes != 0 ? load_strided(x, lanes, 2) : spread(0.0F));
    }
  }
}

/// What all channels of y read at some windows of a row, and where their maxima go.
struct Windows {
  const float* pixels;  // of the windows' first row
  int64_t channel;      // floats between channels of x
  const float* weights;
  const float* bias;  // or null
  float* y;
  int count;
};

/// Maxima of the `count` channels from `first` on.
template <int count>
TANDEM_INLINE void take_maxima(const ShallowParams& p, const Windows& at, int64_t first) {
  const int64_t in = p.shape.in;
  const float* pixels = at.pixels;
  const float* weights = at.weights + first * in * 9;
  Lanes acc[count][4];
#pragma GCC unroll 2
  for (int o = 0; o < count; ++o) {
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) acc[o][k] = spread(at.bias != nullptr ? at.bias[first + o] : 0.0F);
  }
  for (int64_t c = 0; c < in; ++c, pixels += at.channel, weights += 9) {
    Lanes d[4][4];
#pragma GCC unroll 4
    for (int64_t i = 0; i < 4; ++i) {
      const float* even = pixels + i * 2 * p.half;
      const float* odd = even + p.half;
      d[i][0] = load_lanes(even);
      d[i][1] = load_lanes(odd);
      d[i][2] = load_lanes(even + 1);
      d[i][3] = load_lanes(odd + 1);
    }
#pragma GCC unroll 9
    for (int tap = 0; tap < 9; ++tap) {
#pragma GCC unroll 2
      for (int o = 0; o < count; ++o) {
        const Lanes w = spread(weights[o * in * 9 + tap]);
#pragma GCC unroll 4
        for (int k = 0; k < 4; ++k)
          acc[o][k] = fma(w, d[tap / 3 + k / 2][tap % 3 + k % 2], acc[o][k]);
      }
    }
  }
  const Lanes floor = spread(p.product.relu ? 0.0F : -__builtin_inff());
#pragma GCC unroll 2
  for (int o = 0; o < count; ++o) {
    store_lanes(at.y + (first + o) * p.out_rows * p.out_columns,
                greater_of(floor, largest_of(acc[o])), at.count);
  }
}

// Tile: some rows of maxima of all channels of an image.
void shallow_tile(const void* params, void* const* operands, int64_t tile,
                  const TileContext& context) {
  const auto& p = params_of<ShallowParams>(params);
  const ConvShape& s = p.shape;
  const int64_t image = tile / p.parts;
  const Range range = piece(tile % p.parts, p.per_tile, p.out_rows);
  auto* pixels = static_cast<float*>(context.scratch);
  const int64_t rows = 2 * (range.end - range.begin) + 2, channel = rows * 2 * p.half;
  const float* plane =
      static_cast<const float*>(operands[p.product.planes]) + image * s.in * s.x_rows * s.x_columns;
  for (int64_t c = 0; c < s.in; ++c, plane += s.x_rows * s.x_columns) {
    for (int64_t r = 0; r < rows; ++r)
      split_row(p, plane, 2 * range.begin - s.padding_rows + r,
                pixels + c * channel + r * 2 * p.half);
  }
  const auto* w = static_cast<const float*>(operands[p.product.a]);
  const auto* bias =
      p.product.bias >= 0 ? static_cast<const float*>(operands[p.product.bias]) : nullptr;
  float* y =
      static_cast<float*>(operands[p.product.y]) + image * s.out * p.out_rows * p.out_columns;
  for (int64_t r = range.begin; r < range.end; ++r) {
    for (int64_t q = 0; q < p.out_columns; q += kLanes) {
      const Windows at = {pixels + (r - range.begin) * 4 * p.half + q,
                          channel,
                          w,
                          bias,
                          y + r * p.out_columns + q,
                          static_cast<int>(least(kLanes, p.out_columns - q))};
      int64_t o = 0;
      for (; o + kTogether <= s.out; o += kTogether) take_maxima<kTogether>(p, at, o);
      for (; o < s.out; ++o) take_maxima<1>(p, at, o);
    }
  }
}

}  // namespace

bool is_shallow(const ConvShape& s) {
  const auto one = [](int64_t a, int64_t b) { return a == 1 && b == 1; };
  const int64_t columns = s.y_columns / 2;
  return s.groups == 1 && s.in <= kMostShallow && !pairs_channels(s, s.in) && s.tap_rows == 3 &&
         s.tap_columns == 3 && one(s.stride_rows, s.stride_columns) &&
         one(s.dilation_rows, s.dilation_columns) && s.padding_rows <= 2 &&
         s.padding_columns <= 2 && 3 * columns >= 2 * ceil_div(columns, kLanes) * kLanes;
}

void emit_shallow_maxima(const GatheredProduct& product, const ConvShape& s, Emitter& emit) {
  ShallowParams p = {};
  p.product = product;
  p.shape = s;
  p.out_rows = s.y_rows / 2;
  p.out_columns = s.y_columns / 2;
  const int64_t vectors = ceil_div(p.out_columns, kLanes);
  p.half = (vectors + 1) * kLanes;
  const double row = static_cast<double>(vectors * s.in * s.out) * 36.0 / kSumsPerNanosecond;
  p.per_tile = most(1, least(p.out_rows, static_cast<int64_t>(kTileNanoseconds / row)));
  p.parts = ceil_div(p.out_rows, p.per_tile);
  emit.scratch(s.in * (2 * p.per_tile + 2) * 2 * p.half * 4);
  emit_step(emit, shallow_tile, p, s.batch * p.parts,
            static_cast<double>(s.batch * p.out_rows) * row);
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
