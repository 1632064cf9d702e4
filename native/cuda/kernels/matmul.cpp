// Matrix products: linear, matmul and the fused form, by cuBLASLt. Its epilogues take over bias,
// ReLU and the GELU of tanh; what they do not know, one pass of launch_epilogue() over the product
// does. Products of 16 bits round their factors first.
#include "core/ops/fused_matmul.h"
#include "core/ops/linear.h"

#include "core/error.h"
#include "cuda/kernels.h"
#include "cuda/product_runner.h"

namespace tandem::cuda {
namespace {

using Attributes = ops::FusedMatMul::Attributes;

/// Batch dimensions of a broadcast product, neighbours merged where all three operands allow it;
/// innermost first.
struct Batches {
  int32_t count = 0;
  int64_t size[kMaxRank] = {}, a[kMaxRank] = {}, b[kMaxRank] = {}, y[kMaxRank] = {};

  void add(int64_t dim, int64_t a_step, int64_t b_step, int64_t y_step) {
    if (dim == 1) return;
    const int32_t last = count - 1;
    if (last >= 0 && a_step == a[last] * size[last] && b_step == b[last] * size[last]) {
      size[last] *= dim;
      return;
    }
    size[count] = dim;
    a[count] = a_step;
    b[count] = b_step;
    y[count] = y_step;
    ++count;
  }
};

Batches batches_of(const Tensor& a, const Tensor& b, const Tensor& y) {
  Batches out;
  int64_t a_step = a.dims[a.rank - 2] * a.dims[a.rank - 1];
  int64_t b_step = b.dims[b.rank - 2] * b.dims[b.rank - 1];
  int64_t y_step = y.dims[y.rank - 2] * y.dims[y.rank - 1];
  for (int32_t i = 3; i <= y.rank; ++i) {
    const int64_t a_size = i <= a.rank ? a.dims[a.rank - i] : 1;
    const int64_t b_size = i <= b.rank ? b.dims[b.rank - i] : 1;
    out.add(y.dims[y.rank - i], a_size == 1 ? 0 : a_step, b_size == 1 ? 0 : b_step, y_step);
    a_step *= a_size;
    b_step *= b_size;
    y_step *= y.dims[y.rank - i];
  }
  return out;
}

Product describe(const Launch& launch, const Attributes& attributes, Batches& batches) {
  const Tensor& a = launch.input(0);
  const Tensor& b = launch.input(1);
  Product p;
  if (attributes.linear) {
    p.k = b.dims[1];
    p.n = b.dims[0];
    p.m = 1;
    for (int32_t i = 0; i + 1 < a.rank; ++i) p.m *= a.dims[i];
    p.trans_b = true;
    return p;
  }
  p.trans_a = attributes.trans_a;
  p.trans_b = attributes.trans_b;
  p.m = a.dims[a.rank - (p.trans_a ? 1 : 2)];
  p.k = a.dims[a.rank - (p.trans_a ? 2 : 1)];
  p.n = b.dims[b.rank - (p.trans_b ? 2 : 1)];
  batches = batches_of(a, b, launch.output());
  if (batches.count > 0) {
    p.batch = batches.size[0];
    p.a_step = batches.a[0];
    p.b_step = batches.b[0];
    p.y_step = batches.y[0];
  }
  return p;
}

/// The product with the epilogue that cuBLASLt may know; without one if it surely does not.
Product fused(const Product& product, const Attributes& attributes, bool bias) {
  Product p = product;
  const bool whole_rows = p.n % 8 == 0;  // what the saved value of a GELU must have
  const auto activation = static_cast<Op>(attributes.activation);
  if (p.batch != 1) return p;
  if (attributes.activation < 0) {
    p.bias = bias;
  } else if (activation == Op::relu && !attributes.save_pre) {
    p.bias = bias;
    p.epilogue = ProductEpilogue::kRelu;
  } else if (activation == Op::geluTanh && (!attributes.save_pre || whole_rows)) {
    p.bias = bias;
    p.epilogue = attributes.save_pre ? ProductEpilogue::kGeluSaving : ProductEpilogue::kGelu;
  } else if (activation == Op::geluTanhGrad && whole_rows) {
    p.epilogue = ProductEpilogue::kGeluGradient;
  }
  return p;
}

/// Runs `product`, once for each batch beyond those that one call takes.
void run_batches(Launch& launch, const Product& product, const Batches& batches,
                 ProductOperands operands, const ProductChoice& choice) {
  operands.workspace = launch.workspace<std::byte>(choice.workspace_bytes);
  if (launch.measuring()) return;
  int64_t outer = 1;
  for (int32_t i = 1; i < batches.count; ++i) outer *= batches.size[i];
  const auto* const a = static_cast<const std::byte*>(operands.a);
  const auto* const b = static_cast<const std::byte*>(operands.b);
  const int64_t bytes = factor_bytes(product.type);
  auto* const y = static_cast<float*>(operands.y);
  for (int64_t o = 0; o < outer; ++o) {
    int64_t rest = o;
    int64_t a_at = 0;
    int64_t b_at = 0;
    int64_t y_at = 0;
    for (int32_t i = 1; i < batches.count; ++i) {
      const int64_t at = rest % batches.size[i];
      rest /= batches.size[i];
      a_at += at * batches.a[i];
      b_at += at * batches.b[i];
      y_at += at * batches.y[i];
    }
    operands.a = a + a_at * bytes;
    operands.b = b + b_at * bytes;
    operands.y = y + y_at;
    launch.products().run(product, operands, choice, launch.stream());
  }
}

/// Factor `i` of the product: floats as they are, or rounded in memory of their own. cuBLASLt could
/// round floats itself, which on GPUs of 2022 only takes them for TF32.
const void* factor(Launch& launch, int i, ProductType type) {
  if (factor_bytes(type) == 4) return launch.in(i);
  const int64_t n = launch.input(i).numel;
  auto* const rounded = launch.workspace<uint16_t>(n);
  launch_round(launch, launch.in(i), rounded, n, type == ProductType::kBfloat16);
  return rounded;
}

void launch_product(Launch& launch, const Attributes& attributes) {
  if (launch.output().numel == 0) return;
  Batches batches;
  Product plain = describe(launch, attributes, batches);
  plain.type = attributes.bf16   ? ProductType::kBfloat16
               : attributes.fp16 ? ProductType::kFloat16
                                 : launch.products().type();
  const bool bias = launch.has_input(2);
  float* const y = launch.out();
  float* const pre = attributes.save_pre ? launch.out(1) : nullptr;
  const Product wanted = fused(plain, attributes, bias);
  bool complete = false;
  if (plain.k == 0) {
    launch.zero(y, launch.output().numel * 4);
  } else {
    ProductChoice choice;
    if (wanted != plain) choice = launch.products().choose(wanted);
    complete = choice.found;
    if (!complete) choice = launch.products().choose(plain);
    if (!choice.found) {
      fail(ErrorCode::kDevice, "expected products that cuBLASLt computes, received [" +
                                   std::to_string(plain.m) + ", " + std::to_string(plain.k) +
                                   "] by [" + std::to_string(plain.k) + ", " +
                                   std::to_string(plain.n) + "]");
    }
    float* const saved = wanted.epilogue == ProductEpilogue::kGeluGradient ? launch.in(3) : pre;
    run_batches(launch, complete ? wanted : plain, batches,
                {factor(launch, 0, plain.type), factor(launch, 1, plain.type), y, launch.in(2),
                 saved, nullptr},
                choice);
  }
  if (complete || (attributes.activation < 0 && !bias)) return;
  launch_epilogue(launch, {y, launch.output().numel / plain.n, plain.n, launch.in(2), launch.in(3),
                           pre, attributes.activation, attributes.gradient,
                           attributes.activation_attributes.a, attributes.activation_attributes.b});
}

}  // namespace

void launch_linear(Launch& launch) {
  Attributes attributes{};
  attributes.linear = true;
  attributes.trans_b = true;
  const auto& plain = launch.attributes<ops::Linear::Attributes>();
  attributes.bf16 = plain.bf16;
  attributes.fp16 = plain.fp16;
  launch_product(launch, attributes);
}

void launch_matmul(Launch& launch) {
  const auto& plain = launch.attributes<ops::MatMul::Attributes>();
  Attributes attributes{};
  attributes.trans_a = plain.trans_a;
  attributes.trans_b = plain.trans_b;
  attributes.bf16 = plain.bf16;
  attributes.fp16 = plain.fp16;
  launch_product(launch, attributes);
}

void launch_fusedMatmul(Launch& launch) { launch_product(launch, launch.attributes<Attributes>()); }

}  // namespace tandem::cuda
