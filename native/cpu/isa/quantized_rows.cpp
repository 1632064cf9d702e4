// Products of few rows of floats with weights of bytes. A tile is some panels of columns; a
// register kernel sums a panel of two vectors for up to kRows rows, turning each word of bytes into
// floats once for all of them.
#include "cpu/isa/quantized_rows.h"

#include "cpu/isa/byte_lanes.h"

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

#if defined(TANDEM_ISA_AVX512)
constexpr int kRows = 12;  // 24 sums leave 8 of 32 registers for what is added
constexpr int64_t kBestRows = 256;
#else
constexpr int kRows = 4;
constexpr int64_t kBestRows = 8;
#endif

struct FewRows {
  QuantizedWeight weight;
  QuantizedResult result;
  int64_t rows, panels;  // panels of a tile
  int32_t packed;
};

/// One panel: `words` of it, a word after the other for all of its columns.
struct Panel {
  const char* words;
  int64_t row;  // bytes from word to word of a column
  int64_t k;
};

/// Adds the products with byte `at` and those behind it of a word, as far as there are `left`.
template <int M, int V, int bytes, int at>
TANDEM_INLINE void add_bytes(const Words (&w)[V], const float* x, int64_t x_row, int64_t left,
                             Lanes (&sum)[M][V]) {
  if (at >= left) return;
  Lanes value[V];
#pragma GCC unroll 2
  for (int v = 0; v < V; ++v) value[v] = byte_lanes<at>(w[v]);
#pragma GCC unroll 12
  for (int m = 0; m < M; ++m) {
    const Lanes factor = spread(x[m * x_row + at]);
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) sum[m][v] = fma(factor, value[v], sum[m][v]);
  }
  if constexpr (at + 1 < bytes) add_bytes<M, V, bytes, at + 1>(w, x, x_row, left, sum);
}

template <int M, int V, int bytes>
void sum_panel(const Panel& panel, const float* x, float* sums) {
  Lanes sum[M][V];
#pragma GCC unroll 12
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) sum[m][v] = spread(0.0F);
  const char* words = panel.words;
  const auto step = [&](int64_t k, int64_t left) {
    Words w[V];
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) w[v] = load_byte_words<bytes>(words + v * kLanes * bytes);
    add_bytes<M, V, bytes, 0>(w, x + k, panel.k, left, sum);
    words += panel.row;
  };
  int64_t k = 0;
  for (; k + bytes <= panel.k; k += bytes) step(k, bytes);
  if (k < panel.k) step(k, panel.k - k);
#pragma GCC unroll 12
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) store(sums + (m * V + v) * kLanes, sum[m][v]);
}

using SumFn = void (*)(const Panel& panel, const float* x, float* sums);

template <int V, int bytes>
SumFn sums_of(int64_t rows) {
  static constexpr SumFn kSums[] = {
      sum_panel<1, V, bytes>,  sum_panel<2, V, bytes>,  sum_panel<3, V, bytes>,
      sum_panel<4, V, bytes>,
#if defined(TANDEM_ISA_AVX512)
      sum_panel<5, V, bytes>,  sum_panel<6, V, bytes>,  sum_panel<7, V, bytes>,
      sum_panel<8, V, bytes>,  sum_panel<9, V, bytes>,  sum_panel<10, V, bytes>,
      sum_panel<11, V, bytes>, sum_panel<12, V, bytes>,
#endif
  };
  return kSums[rows - 1];
}

SumFn sums_of(int64_t rows, bool wide, int64_t bytes) {
  if (bytes == 4) return wide ? sums_of<2, 4>(rows) : sums_of<1, 4>(rows);
  return wide ? sums_of<2, 2>(rows) : sums_of<1, 2>(rows);
}

/// Columns of sums as results: scaled, with bias, residual and activation.
void finish(const FewRows& p, const float* sums, const float* scale, const float* bias,
            const float* residual, int64_t columns, float* y) {
  for (int64_t j = 0; j < columns; j += kLanes) {
    const int here = static_cast<int>(least(kLanes, columns - j));
    const Lanes start = bias == nullptr ? spread(0.0F) : load_lanes(bias + j, here);
    Lanes value = fma(load_lanes(sums + j), load_lanes(scale + j, here), start);
    if (residual != nullptr) value = value + load_lanes(residual + j, here);
    if (p.result.relu) value = greater_of(spread(0.0F), value);
    store_lanes(y + j, value, here);
  }
  if (!p.result.relu && p.result.activation != nullptr)
    p.result.activation(y, nullptr, y, columns, p.result.params);
}

void panel_rows(const FewRows& p, void* const* operands, int64_t first) {
  const GemmDesc& d = p.weight.plan.desc;
  const int64_t columns = least(d.n - first, kPanelColumns), bytes = d.kernels->b_word;
  const bool wide = columns > kLanes;
  const auto* const packed = static_cast<const char*>(operands[p.packed]);
  const auto* const scale =
      reinterpret_cast<const float*>(packed + p.weight.place.scales_at) + first;
  const float* const bias =
      p.result.bias < 0 ? nullptr : static_cast<const float*>(operands[p.result.bias]) + first;
  const float* const residual =
      p.result.residual < 0 ? nullptr
                            : static_cast<const float*>(operands[p.result.residual]) + first;
  const Panel panel = {packed + first * p.weight.plan.k_words * bytes,
                       (wide ? kPanelColumns : kLanes) * bytes, d.k};
  const auto* const x = static_cast<const float*>(operands[0]);
  auto* const y = static_cast<float*>(operands[p.result.y]) + first;
  const int64_t width = wide ? kPanelColumns : kLanes;
  float sums[kRows * kPanelColumns];
  const int64_t most_rows = ceil_div(p.rows, ceil_div(p.rows, kRows));  // as even as can be
  for (int64_t row = 0; row < p.rows; row += most_rows) {
    const int64_t rows = least(most_rows, p.rows - row);
    sums_of(rows, wide, bytes)(panel, x + row * d.k, sums);
    for (int64_t i = 0; i < rows; ++i)
      finish(p, sums + i * width, scale, bias,
             residual == nullptr ? nullptr : residual + (row + i) * d.n, columns,
             y + (row + i) * d.n);
  }
}

void few_rows_tile(const void* raw, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<FewRows>(raw);
  const Range range = piece(tile, p.panels * kPanelColumns, p.weight.plan.desc.n);
  for (int64_t first = range.begin; first < range.end; first += kPanelColumns)
    panel_rows(p, operands, first);
}

}  // namespace

extern const int64_t kFewRows;
const int64_t kFewRows = kBestRows;

void emit_few_rows(const QuantizedWeight& weight, const QuantizedResult& result, int32_t packed,
                   int64_t rows, Emitter& emit) {
  constexpr int64_t kTiles = 16;
  constexpr double kByteCost = 1.2 / kWidth, kProductCost = 0.3 / kWidth;  // nanoseconds
  const GemmDesc& d = weight.plan.desc;
  const int64_t panels = ceil_div(d.n, kPanelColumns);
  const FewRows p{weight, result, rows, ceil_div(panels, kTiles), packed};
  const auto bytes = static_cast<double>(d.n * d.k);
  const double each = kByteCost * static_cast<double>(ceil_div(rows, kRows)) +
                      kProductCost * static_cast<double>(rows);
  emit_step(emit, few_rows_tile, p, ceil_div(panels, p.panels), 50.0 + each * bytes);
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
