// lstm and its gradient. In each step a tile multiplies its states with the weights and applies the
// gates' functions to the sums while these are close:
//   i = sigmoid(.)  f = sigmoid(.)  g = tanh(.)  o = sigmoid(.)    c = f c' + i g    y = o tanh(c)
// The gradient walks back: the gates' gradients of one step, times the weights, are a part of the
// states' gradient in the step before.
#include "core/ops/recurrent.h"
#include "cpu/isa/math.h"
#include "cpu/isa/recurrent.h"

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

// ---- forward -----------------------------------------------------------------------------------

/// One row of a step: x and h are the inputs' and the states' parts of the sums. Writes the gates
/// where these are kept. `cell` may be `before`.
void step_row(const float* x, const float* h, const float* before, float* cell, float* y,
              float* gates, int64_t units) {
  for_vectors(units, [&](int64_t j, auto access) {
    const auto sum = [&](int64_t gate) {
      const int64_t at = gate * units + j;
      return access.read(x + at) + access.read(h + at);
    };
    const Vec i = sigmoid_(sum(0));
    const Vec f = sigmoid_(sum(1));
    const Vec g = tanh_(sum(2));
    const Vec o = sigmoid_(sum(3));
    const Vec state = fma(f, access.read(before + j), i * g);
    access.write(cell + j, state);
    access.write(y + j, o * tanh_(state));
    if (gates == nullptr) return;
    access.write(gates + j, i);
    access.write(gates + units + j, f);
    access.write(gates + 2 * units + j, g);
    access.write(gates + 3 * units + j, o);
  });
}

/// Operands: x, weights; y; the gates and the cells if they are kept.
void forward_tile(const void* params, void* const* operands, int64_t tile,
                  const TileContext& context) {
  const auto& p = params_of<Recurrence>(params);
  const Range range = rows_at(p, tile);
  const int64_t rows = range.end - range.begin;
  const auto* x = static_cast<const float*>(operands[0]);
  auto* y = static_cast<float*>(operands[2]);
  auto* gates = p.kept < 0 ? nullptr : static_cast<float*>(operands[p.kept]);
  auto* cells = p.kept < 0 ? nullptr : static_cast<float*>(operands[p.kept + 1]);
  auto* sums = reinterpret_cast<float*>(static_cast<std::byte*>(context.scratch) + p.floats_at);
  sum_bytes(p, operands[p.weights], context.scratch);
  float* state = sums + rows * p.gates;
  std::memset(sums, 0, static_cast<size_t>(rows * (p.gates + p.units)) * sizeof(float));
  for (int64_t t = 0; t < p.time; ++t) {
    const int64_t first = range.begin * p.time + t;
    prefetch_rows(x + first * p.gates, p.time * p.gates, rows, p.gates);
    if (t > 0) {
      multiply(p, rows, y + (first - 1) * p.units, operands[p.weights], sums, {}, context.scratch);
    }
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t at = first + r * p.time;
      float* row_state = state + r * p.units;
      float* cell = cells == nullptr ? row_state : cells + at * p.units;
      const float* before = cells == nullptr || t == 0 ? row_state : cell - p.units;
      step_row(x + at * p.gates, sums + r * p.gates, before, cell, y + at * p.units,
               gates == nullptr ? nullptr : gates + at * p.gates, p.units);
    }
  }
}

// ---- backward ----------------------------------------------------------------------------------

/// One row of a step back. `dh` and `dc` come from the step after; dc becomes that of the step
/// before. `d_gates` may be `gates`.
void step_back_row(const float* gates, const float* cell, const float* before, const float* dy,
                   const float* dh, float* dc, float* d_gates, int64_t units) {
  const Vec one = set1(1.0F);
  for_vectors(units, [&](int64_t j, auto access) {
    const Vec i = access.read(gates + j);
    const Vec f = access.read(gates + units + j);
    const Vec g = access.read(gates + 2 * units + j);
    const Vec o = access.read(gates + 3 * units + j);
    const Vec squashed = tanh_(access.read(cell + j));
    const Vec d_y = access.read(dy + j) + access.read(dh + j);
    const Vec d_cell = fma(d_y * o, minus_product(one, squashed, squashed), access.read(dc + j));
    access.write(d_gates + j, d_cell * g * i * (one - i));
    access.write(d_gates + units + j, d_cell * access.read(before + j) * f * (one - f));
    access.write(d_gates + 2 * units + j, d_cell * i * minus_product(one, g, g));
    access.write(d_gates + 3 * units + j, d_y * squashed * o * (one - o));
    access.write(dc + j, d_cell * f);
  });
}

/// Operands: gates, cells, weights, dy; the gates' gradients.
void backward_tile(const void* params, void* const* operands, int64_t tile,
                   const TileContext& context) {
  const auto& p = params_of<Recurrence>(params);
  const Range range = rows_at(p, tile);
  const int64_t rows = range.end - range.begin;
  const auto* gates = static_cast<const float*>(operands[0]);
  const auto* cells = static_cast<const float*>(operands[1]);
  const auto* dy = static_cast<const float*>(operands[3]);
  auto* d_gates = static_cast<float*>(operands[4]);
  auto* dh = reinterpret_cast<float*>(static_cast<std::byte*>(context.scratch) + p.floats_at);
  float* dc = dh + rows * p.units;
  float* start = dc + rows * p.units;  // the cells before the first step
  std::memset(dh, 0, static_cast<size_t>(3 * rows * p.units) * sizeof(float));
  for (int64_t t = p.time; t-- > 0;) {
    const int64_t first = range.begin * p.time + t;
    prefetch_rows(gates + first * p.gates, p.time * p.gates, rows, p.gates);
    prefetch_rows(cells + first * p.units, p.time * p.units, rows, p.units);
    if (t + 1 < p.time) {
      multiply(p, rows, d_gates + (first + 1) * p.gates, operands[p.weights], dh, {},
               context.scratch);
    }
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t at = first + r * p.time;
      const float* cell = cells + at * p.units;
      step_back_row(gates + at * p.gates, cell, t == 0 ? start : cell - p.units, dy + at * p.units,
                    dh + r * p.units, dc + r * p.units, d_gates + at * p.gates, p.units);
    }
  }
}

}  // namespace

void launch_lstm(const NodeView& node, Emitter& emit) { emit_forward(node, forward_tile, emit); }

void launch_quantizedLstm(const NodeView& node, Emitter& emit) {
  emit_quantized_forward(node, forward_tile, emit);
}

void launch_lstmGrad(const NodeView& node, Emitter& emit) {
  emit_backward(node, {.weights = 2, .accumulate = false, .scratch_units = 3}, backward_tile, emit);
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
