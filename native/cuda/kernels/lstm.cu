// lstm and its gradient. Each step of time is a kernel that multiplies the states with the weights
// and applies the gates' functions to the sums while these are in registers:
//   i = sigmoid(.)  f = sigmoid(.)  g = tanh(.)  o = sigmoid(.)    c = f c' + i g    y = o tanh(c)
// The gradient walks back: the gates' gradients of one step, times the weights, are a part of the
// states' gradient in the step before. The gates' gradients may lie on the gates. quantizedLstm:
// the same of bytes, see device/byte_states.cuh.
#include "core/ops/recurrent.h"

#include "cuda/device/byte_states.cuh"
#include "cuda/kernels.h"

namespace tandem::cuda {
namespace {

struct Forward {
  Recurrence r;
  const float* x;
  float *y, *gates, *cells;     // gates: null where they are not kept
  int64_t cell_row, cell_time;  // floats between rows and steps of the cells; 0: one for all steps
  SumScales scales;
};

template <Arithmetic kind>
__global__ void __launch_bounds__(kStepThreads)
    forward_kernel(Forward p, StepProduct product, int64_t t) {
  const Recurrence& r = p.r;
  step_units<kind, 4>(r, product, [&](int64_t row, int64_t unit, const float (&sums)[4]) {
    const int64_t at = row * r.time + t;
    const float* const x = p.x + at * r.gates + unit;
    const auto sum = [&](int gate) {
      const int64_t column = gate * r.units;
      return x[column] + p.scales.apply(sums[gate], row, column + unit);
    };
    const float i = sigmoid_(sum(0));
    const float f = sigmoid_(sum(1));
    const float g = tanhf(sum(2));
    const float o = sigmoid_(sum(3));
    float* const cell = p.cells + row * p.cell_row + t * p.cell_time + unit;
    const float before = t == 0 ? 0.0F : cell[-p.cell_time];
    const float state = fmaf(f, before, i * g);
    *cell = state;
    p.y[at * r.units + unit] = o * tanhf(state);
    if (p.gates == nullptr) return;
    float* const gates = p.gates + at * r.gates + unit;
    gates[0] = i;
    gates[r.units] = f;
    gates[2 * r.units] = g;
    gates[3 * r.units] = o;
  });
}

struct Backward {
  Recurrence r;
  const float *gates, *cells, *dy;
  float* d_cell;   // [batch, units], from the step after
  float* d_gates;  // may be `gates`
};

template <Arithmetic kind>
__global__ void __launch_bounds__(kStepThreads)
    backward_kernel(Backward p, StepProduct product, int64_t t) {
  const Recurrence& r = p.r;
  step_units<kind, 1>(r, product, [&](int64_t row, int64_t unit, const float (&dh)[1]) {
    const int64_t at = row * r.time + t;
    const float* const gates = p.gates + at * r.gates + unit;
    const float i = gates[0];
    const float f = gates[r.units];
    const float g = gates[2 * r.units];
    const float o = gates[3 * r.units];
    const float* const cell = p.cells + at * r.units + unit;
    const float squashed = tanhf(*cell);
    const float before = t == 0 ? 0.0F : cell[-r.units];
    float& carried = p.d_cell[row * r.units + unit];
    const float d_y = p.dy[at * r.units + unit] + dh[0];
    const float d_cell =
        fmaf(d_y * o, 1.0F - squashed * squashed, t + 1 == r.time ? 0.0F : carried);
    float* const d_gates = p.d_gates + at * r.gates + unit;
    d_gates[0] = d_cell * g * i * (1.0F - i);
    d_gates[r.units] = d_cell * before * f * (1.0F - f);
    d_gates[2 * r.units] = d_cell * i * (1.0F - g * g);
    d_gates[3 * r.units] = d_y * squashed * o * (1.0F - o);
    carried = d_cell * f;
  });
}

}  // namespace

void launch_lstm(Launch& launch) {
  if (launch.output().numel == 0) return;
  Forward p{};
  p.r = recurrence_of(launch.input(0), launch.input(1));
  p.x = launch.in(0);
  p.y = launch.out(0);
  const bool kept = launch.output_count() > 1;
  if (kept) {
    p.gates = launch.out(1);
    p.cells = launch.out(2);
    p.cell_row = p.r.time * p.r.units;
    p.cell_time = p.r.units;
  } else {
    p.cells = launch.workspace<float>(p.r.batch * p.r.units);
    p.cell_row = p.r.units;
  }
  const auto& attributes = launch.attributes<ops::RecurrentAttributes>();
  const auto kernel = attributes.bf16   ? forward_kernel<Arithmetic::kBfloat16>
                      : attributes.fp16 ? forward_kernel<Arithmetic::kFloat16>
                                        : forward_kernel<Arithmetic::kFloat32>;
  launch_forward(launch, kernel, p, p.y, launch.in(1));
}

void launch_quantizedLstm(Launch& launch) {
  if (launch.output().numel == 0) return;
  Forward p{};
  p.r = recurrence_of(launch.input(0), launch.input(1));
  p.x = launch.in(0);
  p.y = launch.out(0);
  p.cells = launch.workspace<float>(p.r.batch * p.r.units);
  p.cell_row = p.r.units;
  launch_byte_forward(launch, forward_kernel<Arithmetic::kBfloat16>, p);
}

void launch_lstmGrad(Launch& launch) {
  if (launch.output().numel == 0) return;
  Backward p{};
  p.r = recurrence_of(launch.input(0), launch.input(2));
  p.gates = launch.in(0);
  p.cells = launch.in(1);
  p.dy = launch.in(3);
  p.d_cell = launch.workspace<float>(p.r.batch * p.r.units);
  p.d_gates = launch.out();
  const auto& attributes = launch.attributes<ops::RecurrentGradAttributes>();
  const auto kernel = attributes.bf16   ? backward_kernel<Arithmetic::kBfloat16>
                      : attributes.fp16 ? backward_kernel<Arithmetic::kFloat16>
                                        : backward_kernel<Arithmetic::kFloat32>;
  launch_backward(launch, kernel, p, p.d_gates, launch.in(2));
}

}  // namespace tandem::cuda
