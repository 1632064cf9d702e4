// Epilogues of a matrix product that work on whole rows, while they are in the L1.
#include "cpu/isa/gemm_rows.h"

namespace tandem::cpu::TANDEM_ISA_NS {

namespace {

void activate(const GemmEpilogue& e, const float* in, float* out, int64_t n) {
  if (e.activation == GEMM_ACT_APPLY) {
    e.apply(in, nullptr, out, n, e.params);
  } else if (in != out) {
    const Lanes floor = spread(relu_floor(e.activation == GEMM_ACT_RELU));
    int64_t j = 0;
    for (; j + kLanes <= n; j += kLanes) store(out + j, greater_of(floor, load_lanes(in + j)));
    const int left = static_cast<int>(n - j);
    if (left > 0) store_lanes(out + j, greater_of(floor, load_lanes(in + j, left)), left);
  }
}

}  // namespace

void finish_rows(const GemmPlan& plan, const GemmBlock& t, const GemmEpilogue& e, int64_t row,
                 int64_t rows) {
  for (int64_t i = row; i < row + rows; ++i) {
    const int64_t at = (i * plan.desc.c_row + t.j0) * 4;
    float* c = reinterpret_cast<float*>(t.c + at);
    activate(e, t.pre ? reinterpret_cast<const float*>(t.pre + at) : c, c, t.j1 - t.j0);
    if (e.apply_grad)
      e.apply_grad(c, reinterpret_cast<const float*>(t.saved + at), c, t.j1 - t.j0, e.params);
  }
}

void finish_staged_rows(const GemmPlan& plan, const GemmBlock& t, const GemmEpilogue& e,
                        int64_t row, int64_t rows, float* stage) {
  const GemmElement type = plan.desc.c_type;
  const int64_t bytes = element_bytes(type), n = t.j1 - t.j0;
  MicroArgs args = {};
  args.c_type = type;
  args.c_inverse = e.c_inverse;
  args.c_zero = e.c_zero;
  args.rows = 1;
  args.columns = static_cast<int>(n);
  args.floor = relu_floor(false);
  set_bounds(args, e, false);
  float* spare = stage + plan.desc.kernels->panel_rows * plan.stage_columns;
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t at = ((row + i) * plan.desc.c_row + t.j0) * bytes;
    float* value = stage + i * plan.stage_columns;
    if (t.pre) store_row(args, value, t.pre + at);
    if (e.activation == GEMM_ACT_RELU)
      for (int64_t j = 0; j < n; ++j) value[j] = value[j] < 0.0F ? 0.0F : value[j];
    activate(e, value, value, n);
    if (e.apply_grad) {
      for (int64_t j = 0; j < n; j += kLanes) {
        const int count = static_cast<int>(least(n - j, kLanes));
        store_lanes(spare + j, load_bf16(t.saved + at + 2 * j, count), count);
      }
      e.apply_grad(value, spare, value, n, e.params);
    }
    store_row(args, value, t.c + at);
  }
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
