// gru and its gradient. Each step of time is a kernel that multiplies the states with the weights,
// adds the recurrent bias, and applies the gates' functions while the sums are in registers, with x
// for the inputs' parts of the sums and s for the states':
//   r = sigmoid(x + s)  z = sigmoid(x + s)  n = tanh(x + r s)    y = (1 - z) n + z y'
// The gradient walks back: the gradients of s in one step, times the weights, are a part of the
// states' gradient in the step before. The gradient of x may lie on the gates. quantizedGru: the
// same of bytes, see device/byte_states.cuh.
#include "core/ops/recurrent.h"

#include "cuda/device/byte_states.cuh"
#include "cuda/kernels.h"

namespace tandem::cuda {
namespace {

struct Forward {
  Recurrence r;
  const float *x, *bias;
  float *y, *gates, *s_n;  // gates and s_n: null where they are not kept
  SumScales scales;
};

template <Arithmetic kind>
__global__ void __launch_bounds__(kStepThreads)
    forward_kernel(Forward p, StepProduct product, int64_t t) {
  const Recurrence& r = p.r;
  step_units<kind, 3>(r, product, [&](int64_t row, int64_t unit, const float (&sums)[3]) {
    const int64_t at = row * r.time + t;
    const float* const x = p.x + at * r.gates + unit;
    const float* const bias = p.bias + unit;
    const auto sum = [&](int gate) {
      const int64_t column = gate * r.units;
      return p.scales.apply(sums[gate], row, column + unit) + bias[column];
    };
    const float reset = sigmoid_(x[0] + sum(0));
    const float update = sigmoid_(x[r.units] + sum(1));
    const float recurrent = sum(2);
    const float candidate = tanhf(fmaf(reset, recurrent, x[2 * r.units]));
    float* const y = p.y + at * r.units + unit;
    const float before = t == 0 ? 0.0F : y[-r.units];
    *y = fmaf(update, before - candidate, candidate);
    if (p.gates == nullptr) return;
    float* const gates = p.gates + at * r.gates + unit;
    gates[0] = reset;
    gates[r.units] = update;
    gates[2 * r.units] = candidate;
    p.s_n[at * r.units + unit] = recurrent;
  });
}

struct Backward {
  Recurrence r;
  const float *gates, *s_n, *y, *dy;
  float* carry;    // [batch, units]: what the step after leaves of the states' gradient
  float *dx, *ds;  // dx may be `gates`
};

template <Arithmetic kind>
__global__ void __launch_bounds__(kStepThreads)
    backward_kernel(Backward p, StepProduct product, int64_t t) {
  const Recurrence& r = p.r;
  step_units<kind, 1>(r, product, [&](int64_t row, int64_t unit, const float (&dh)[1]) {
    const int64_t at = row * r.time + t;
    const float* const gates = p.gates + at * r.gates + unit;
    const float reset = gates[0];
    const float update = gates[r.units];
    const float candidate = gates[2 * r.units];
    const float before = t == 0 ? 0.0F : p.y[(at - 1) * r.units + unit];
    float& carry = p.carry[row * r.units + unit];
    const float carried = t + 1 == r.time ? 0.0F : carry + dh[0];
    const float d_y = p.dy[at * r.units + unit] + carried;
    const float d_update = d_y * (before - candidate);
    const float d_n = d_y * (1.0F - update) * (1.0F - candidate * candidate);
    const float d_r = d_n * p.s_n[at * r.units + unit] * reset * (1.0F - reset);
    const float d_z = d_update * update * (1.0F - update);
    carry = d_y * update;
    float* const dx = p.dx + at * r.gates + unit;
    float* const ds = p.ds + at * r.gates + unit;
    dx[0] = ds[0] = d_r;
    dx[r.units] = ds[r.units] = d_z;
    dx[2 * r.units] = d_n;
    ds[2 * r.units] = d_n * reset;
  });
}

}  // namespace

void launch_gru(Launch& launch) {
  if (launch.output().numel == 0) return;
  Forward p{};
  p.r = recurrence_of(launch.input(0), launch.input(1));
  p.x = launch.in(0);
  p.bias = launch.in(2);
  p.y = launch.out(0);
  const bool kept = launch.output_count() > 1;
  p.gates = kept ? launch.out(1) : nullptr;
  p.s_n = kept ? launch.out(2) : nullptr;
  const auto& attributes = launch.attributes<ops::RecurrentAttributes>();
  const auto kernel = attributes.bf16   ? forward_kernel<Arithmetic::kBfloat16>
                      : attributes.fp16 ? forward_kernel<Arithmetic::kFloat16>
                                        : forward_kernel<Arithmetic::kFloat32>;
  launch_forward(launch, kernel, p, p.y, launch.in(1));
}

void launch_quantizedGru(Launch& launch) {
  if (launch.output().numel == 0) return;
  Forward p{};
  p.r = recurrence_of(launch.input(0), launch.input(1));
  p.x = launch.in(0);
  p.bias = launch.in(2);
  p.y = launch.out(0);
  launch_byte_forward(launch, forward_kernel<Arithmetic::kBfloat16>, p);
}

void launch_gruGrad(Launch& launch) {
  if (launch.output().numel == 0) return;
  Backward p{};
  p.r = recurrence_of(launch.input(0), launch.input(3));
  p.gates = launch.in(0);
  p.s_n = launch.in(1);
  p.y = launch.in(2);
  p.dy = launch.in(4);
  p.carry = launch.workspace<float>(p.r.batch * p.r.units);
  p.dx = launch.out(0);
  p.ds = launch.out(1);
  const auto& attributes = launch.attributes<ops::RecurrentGradAttributes>();
  const auto kernel = attributes.bf16   ? backward_kernel<Arithmetic::kBfloat16>
                      : attributes.fp16 ? backward_kernel<Arithmetic::kFloat16>
                                        : backward_kernel<Arithmetic::kFloat32>;
  launch_backward(launch, kernel, p, p.ds, launch.in(3));
}

}  // namespace tandem::cuda
