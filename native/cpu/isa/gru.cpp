// gru and its gradient. In each step a tile multiplies its states with the weights, adds the
// recurrent bias, and applies the gates' functions while the sums are close, with x for the inputs'
// parts of the sums and s for the states':
//   r = sigmoid(x + s)  z = sigmoid(x + s)  n = tanh(x + r s)    y = (1 - z) n + z y'
// The gradient walks back: the gradients of s in one step, times the weights, are a part of the
// states' gradient in the step before.
#include "core/ops/recurrent.h"
#include "cpu/isa/math.h"
#include "cpu/isa/recurrent.h"

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

// ---- forward -----------------------------------------------------------------------------------

/// One row of a step. Writes the gates and s of n where these are kept.
void step_row(const float* x, const float* s, const float* before, float* y, float* gates,
              float* s_n, int64_t units) {
  for_vectors(units, [&](int64_t j, auto access) {
    const auto at = [&](const float* sums, int64_t gate) {
      return access.read(sums + gate * units + j);
    };
    const Vec reset = sigmoid_(at(x, 0) + at(s, 0));
    const Vec update = sigmoid_(at(x, 1) + at(s, 1));
    const Vec recurrent = at(s, 2);
    const Vec candidate = tanh_(fma(reset, recurrent, at(x, 2)));
    access.write(y + j, fma(update, access.read(before + j) - candidate, candidate));
    if (gates == nullptr) return;
    access.write(gates + j, reset);
    access.write(gates + units + j, update);
    access.write(gates + 2 * units + j, candidate);
    access.write(s_n + j, recurrent);
  });
}

/// Operands: x, weights, bias; y; the gates and s of n if they are kept.
void forward_tile(const void* params, void* const* operands, int64_t tile,
                  const TileContext& context) {
  const auto& p = params_of<Recurrence>(params);
  const Range range = rows_at(p, tile);
  const int64_t rows = range.end - range.begin;
  const auto* x = static_cast<const float*>(operands[0]);
  GemmEpilogue epilogue{};
  epilogue.bias = static_cast<const float*>(operands[2]);
  auto* y = static_cast<float*>(operands[3]);
  auto* gates = p.kept < 0 ? nullptr : static_cast<float*>(operands[p.kept]);
  auto* s_n = p.kept < 0 ? nullptr : static_cast<float*>(operands[p.kept + 1]);
  auto* sums = reinterpret_cast<float*>(static_cast<std::byte*>(context.scratch) + p.floats_at);
  sum_bytes(p, operands[p.weights], context.scratch);
  float* start = sums + rows * p.gates;  // the states before the first step
  std::memset(start, 0, static_cast<size_t>(p.units) * sizeof(float));
  for (int64_t r = 0; r < rows; ++r)
    std::memcpy(sums + r * p.gates, epilogue.bias, static_cast<size_t>(p.gates) * sizeof(float));
  for (int64_t t = 0; t < p.time; ++t) {
    const int64_t first = range.begin * p.time + t;
    prefetch_rows(x + first * p.gates, p.time * p.gates, rows, p.gates);
    if (t > 0) {
      multiply(p, rows, y + (first - 1) * p.units, operands[p.weights], sums, epilogue,
               context.scratch);
    }
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t at = first + r * p.time;
      float* row = y + at * p.units;
      step_row(x + at * p.gates, sums + r * p.gates, t == 0 ? start : row - p.units, row,
               gates == nullptr ? nullptr : gates + at * p.gates,
               s_n == nullptr ? nullptr : s_n + at * p.units, p.units);
    }
  }
}

// ---- backward ----------------------------------------------------------------------------------

struct Back {
  const float *gates, *s_n, *before, *dy;
  float *carry, *dx, *ds;
};

/// One row of a step back. `carry` is the gradient of the states that the step after has left, and
/// becomes the part of it for the step before that needs no product. `dx` may be `gates`.
void step_back_row(const Back& b, int64_t units) {
  const Vec one = set1(1.0F);
  for_vectors(units, [&](int64_t j, auto access) {
    const Vec reset = access.read(b.gates + j);
    const Vec update = access.read(b.gates + units + j);
    const Vec candidate = access.read(b.gates + 2 * units + j);
    const Vec d_y = access.read(b.dy + j) + access.read(b.carry + j);
    const Vec d_update = d_y * (access.read(b.before + j) - candidate);
    const Vec d_n = d_y * (one - update) * minus_product(one, candidate, candidate);
    const Vec d_r = d_n * access.read(b.s_n + j) * reset * (one - reset);
    const Vec d_z = d_update * update * (one - update);
    access.write(b.carry + j, d_y * update);
    access.write(b.dx + j, d_r);
    access.write(b.dx + units + j, d_z);
    access.write(b.dx + 2 * units + j, d_n);
    access.write(b.ds + j, d_r);
    access.write(b.ds + units + j, d_z);
    access.write(b.ds + 2 * units + j, d_n * reset);
  });
}

/// Operands: gates, s of n, y, weights, dy; the gradients of x and of s.
void backward_tile(const void* params, void* const* operands, int64_t tile,
                   const TileContext& context) {
  const auto& p = params_of<Recurrence>(params);
  const Range range = rows_at(p, tile);
  const int64_t rows = range.end - range.begin;
  const auto* gates = static_cast<const float*>(operands[0]);
  const auto* s_n = static_cast<const float*>(operands[1]);
  const auto* y = static_cast<const float*>(operands[2]);
  const auto* dy = static_cast<const float*>(operands[4]);
  auto* dx = static_cast<float*>(operands[5]);
  auto* ds = static_cast<float*>(operands[6]);
  auto* carry = reinterpret_cast<float*>(static_cast<std::byte*>(context.scratch) + p.floats_at);
  float* start = carry + rows * p.units;  // the states before the first step
  std::memset(carry, 0, static_cast<size_t>(2 * rows * p.units) * sizeof(float));
  for (int64_t t = p.time; t-- > 0;) {
    const int64_t first = range.begin * p.time + t;
    prefetch_rows(gates + first * p.gates, p.time * p.gates, rows, p.gates);
    if (t + 1 < p.time) {
      multiply(p, rows, ds + (first + 1) * p.gates, operands[p.weights], carry, {},
               context.scratch);
    }
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t at = first + r * p.time;
      step_back_row(
          {gates + at * p.gates, s_n + at * p.units, t == 0 ? start : y + (at - 1) * p.units,
           dy + at * p.units, carry + r * p.units, dx + at * p.gates, ds + at * p.gates},
          p.units);
    }
  }
}

}  // namespace

void launch_gru(const NodeView& node, Emitter& emit) { emit_forward(node, forward_tile, emit); }

void launch_quantizedGru(const NodeView& node, Emitter& emit) {
  emit_quantized_forward(node, forward_tile, emit);
}

void launch_gruGrad(const NodeView& node, Emitter& emit) {
  emit_backward(node, {.weights = 3, .accumulate = true, .scratch_units = 2}, backward_tile, emit);
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
