// Matrix products: linear, matmul and the fused form, by cuBLASLt. Its epilogues take over bias and
// the GELU of tanh; what they do not know, one pass of launch_epilogue() over the product does.
// Products of 16 bits round those of their factors first that are floats: weights that never
// change, and what plans leave to them (core/rounded_factors.h).
#include "core/ops/fused_matmul.h"
#include "core/ops/linear.h"

#include <algorithm>

#include "core/error.h"
#include "cuda/host/product_parts.h"
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
  const Tensor& y = launch.output();
  Product p;
  if (!is_half(y.dtype) && y.padding > 0) p.y_row = y.dims[y.rank - 1] + y.padding;
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
  batches = batches_of(a, b, y);
  if (batches.count > 0) {
    p.batch = batches.size[0];
    p.a_step = batches.a[0];
    p.b_step = batches.b[0];
    p.y_step = batches.y[0];
  }
  return p;
}

/// The product with the epilogue that cuBLASLt or a kernel of our own may know; without one if they
/// surely do not.
Product fused(const Product& product, const Attributes& attributes, bool bias) {
  Product p = product;
  const bool whole_rows = p.n % 8 == 0;  // what the saved value of a GELU must have
  const auto activation = static_cast<Op>(attributes.activation);
  const bool own = p.type == ProductType::kFloat32;  // what kernels of our own multiply
  if (p.batch != 1) return p;
  if (attributes.activation < 0) {
    p.bias = bias;
  } else if (activation == Op::relu && !attributes.save_pre && own) {
    p.bias = bias;
    p.epilogue = ProductEpilogue::kRelu;
  } else if (activation == Op::geluTanh && (!attributes.save_pre || whole_rows)) {
    p.bias = bias;
    p.epilogue = attributes.save_pre ? ProductEpilogue::kGeluSaving : ProductEpilogue::kGelu;
  } else if (activation == Op::geluTanhGrad && whole_rows) {
    p.epilogue = ProductEpilogue::kGeluGradient;
  } else if (activation == Op::reluGrad && own) {
    p.epilogue = ProductEpilogue::kReluGradient;
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

/// Factor `i` of the product: numbers of its type as they are, floats for others rounded in memory
/// of their own, once and for all where it is a weight that never changes. cuBLASLt could round
/// floats itself, which on GPUs of 2022 only takes them for TF32.
const void* factor(Launch& launch, int i, ProductType type, int64_t along) {
  const Tensor& x = launch.input(i);
  if (factor_bytes(type) == 4 || is_half(x.dtype)) return launch.in<void>(i);
  const int64_t columns = x.dims[x.rank - 1];
  Rounding rounding{launch.in(i),
                    nullptr,
                    x.numel / columns,
                    columns,
                    std::max(columns, along),
                    type == ProductType::kBfloat16};
  const int64_t count = rounding.rows * rounding.along;
  if (launch.freezes(i)) {
    // no node's number, which other forms of weights go by
    const int32_t form = -1 - 2 * static_cast<int32_t>(type) - (rounding.along > columns ? 1 : 0);
    return launch.frozen(i, form, count * factor_bytes(type), [&](std::byte* fresh) {
      rounding.x = launch.in(i);
      rounding.y = fresh;
      launch_round(launch, rounding);
    });
  }
  rounding.y = launch.workspace<uint16_t>(count);
  launch_round(launch, rounding);
  return rounding.y;
}

/// Rows of factors of 16 bits lie at multiples of 16 bytes, without which the fastest kernels
/// cannot read them.
void align_rows(Launch& launch, Product& p) {
  if (factor_bytes(p.type) != 2 || p.batch != 1) return;
  const auto along = [&](int i) {
    const Tensor& x = launch.input(i);
    const int64_t columns = x.dims[x.rank - 1];
    const int64_t aligned = ceil_div(columns, kFactorRow) * kFactorRow;
    const int64_t row = is_half(x.dtype) ? columns + x.padding : aligned;
    return row == columns ? 0 : row;
  };
  p.a_row = along(0);
  p.b_row = along(1);
}

/// Into how many pieces of equal numbers of rows a product falls whose own rows would not lie at
/// multiples of 16 bytes, so that they get memory where they do first; 0 where that is not worth
/// it.
int64_t pieces_of(const Product& p) {
  constexpr int64_t kLeast = int64_t{1} << 22;  // elements of y
  constexpr int64_t kPiece = int64_t{1} << 25;  // elements of a piece at most
  constexpr int64_t kMost = 64;
  if (factor_bytes(p.type) != 2 || p.batch != 1 || p.trans_a || p.n % 4 == 0 || p.y_row > 0)
    return 0;
  if (p.m * p.n < kLeast) return 0;
  int64_t pieces = ceil_div(p.m * p.n, kPiece);
  while (pieces <= kMost && p.m % pieces != 0) ++pieces;
  return pieces <= kMost ? pieces : 0;
}

/// The parts of a product (host/product_parts.h), and what cuBLASLt computes each by.
struct Parts {
  std::vector<ProductPart> parts;
  std::vector<ProductChoice> choices;
  int64_t workspace_bytes = 0;
};

/// Without parts where cuBLASLt cannot compute one of them.
Parts parts_of(Launch& launch, const Product& whole) {
  Parts found{aligned_parts(whole), {}, 0};
  for (const ProductPart& part : found.parts) {
    found.choices.push_back(launch.products().choose(part.product));
    if (!found.choices.back().found) return {};
    found.workspace_bytes = std::max(found.workspace_bytes, found.choices.back().workspace_bytes);
  }
  return found;
}

void run_parts(Launch& launch, const Parts& all, const ProductOperands& operands) {
  for (size_t i = 0; i < all.parts.size(); ++i) {
    const auto& [product, a, b, y] = all.parts[i];
    const int64_t bytes = factor_bytes(product.type);
    ProductOperands own = operands;
    own.a = static_cast<const std::byte*>(operands.a) + a * bytes;
    own.b = static_cast<const std::byte*>(operands.b) + b * bytes;
    own.y = static_cast<float*>(operands.y) + y;
    launch.products().run(product, own, all.choices[i], launch.stream());
  }
}

/// y = a b in parts. False where it has none.
bool launch_in_parts(Launch& launch, const Product& whole) {
  const Parts parts = parts_of(launch, whole);
  if (parts.parts.size() < 2) return false;
  ProductOperands operands;
  operands.a = factor(launch, 0, whole.type, whole.a_row);
  operands.b = factor(launch, 1, whole.type, whole.b_row);
  operands.y = launch.out();
  operands.workspace = launch.workspace<std::byte>(parts.workspace_bytes);
  if (!launch.measuring()) run_parts(launch, parts, operands);
  return true;
}

/// y = a b, in such pieces. False where cuBLASLt cannot.
bool launch_in_pieces(Launch& launch, const Product& whole, int64_t pieces) {
  Product p = whole;
  p.m /= pieces;
  p.y_row = ceil_div(p.n, kFactorRow) * kFactorRow;
  const Parts parts = parts_of(launch, p);
  if (parts.parts.empty()) return false;
  ProductOperands operands;
  const auto* const a = static_cast<const std::byte*>(factor(launch, 0, p.type, p.a_row));
  operands.b = factor(launch, 1, p.type, p.b_row);
  auto* const piece = launch.workspace<float>(p.m * p.y_row);
  operands.y = piece;
  operands.workspace = launch.workspace<std::byte>(parts.workspace_bytes);
  if (launch.measuring()) return true;
  const int64_t a_bytes = p.m * std::max(p.k, p.a_row) * factor_bytes(p.type);
  for (int64_t i = 0; i < pieces; ++i) {
    operands.a = a + i * a_bytes;
    run_parts(launch, parts, operands);
    launch_pack_rows(launch, piece, launch.out() + i * p.m * p.n, p.m, p.n, p.y_row);
  }
  return true;
}

Epilogue epilogue_of(Launch& launch, const Attributes& attributes, int64_t columns) {
  Epilogue e{};
  e.y = launch.result();
  e.rows = launch.output().numel / columns;
  e.columns = columns;
  e.bias = launch.in(2);
  e.saved = launch.in(3);
  e.pre = attributes.save_pre ? launch.out(1) : nullptr;
  e.activation = attributes.activation;
  e.gradient = attributes.gradient;
  e.a = attributes.activation_attributes.a;
  e.b = attributes.activation_attributes.b;
  return e;
}

/// How to compute `wanted` at once. Not found where nothing does, or where an epilogue that only
/// kernels of our own have is not worth it: another product may be so much faster that a pass
/// behind it is made up for.
ProductChoice choose_whole(Launch& launch, const Product& plain, const Product& wanted) {
  constexpr double kPassMs = 2e-3;  // of a small one, in a graph
  const ProductChoice choice = launch.products().choose(wanted);
  if (!choice.found || library_has(wanted.epilogue)) return choice;
  const ProductChoice other = launch.products().choose(plain);
  return other.found && other.ms + kPassMs < choice.ms ? ProductChoice() : choice;
}

/// Puts the product, with its bias where cuBLASLt adds that, to `y`. Returns whether all of
/// `wanted` was done.
bool multiply(Launch& launch, const Product& plain, const Product& wanted, const Batches& batches,
              float* y, float* saved) {
  if (plain.k == 0) {
    const Tensor& result = launch.output();  // y holds floats, whatever is made of them
    launch.zero(y, is_half(result.dtype) ? result.numel * 4 : byte_size(result));
    return false;
  }
  ProductChoice choice;
  if (wanted != plain) choice = choose_whole(launch, plain, wanted);
  const bool complete = choice.found;
  if (!complete) choice = launch.products().choose(plain);
  if (!choice.found) {
    fail(ErrorCode::kDevice, "expected products that cuBLASLt computes, received [" +
                                 std::to_string(plain.m) + ", " + std::to_string(plain.k) +
                                 "] by [" + std::to_string(plain.k) + ", " +
                                 std::to_string(plain.n) + "]");
  }
  run_batches(launch, complete ? wanted : plain, batches,
              {factor(launch, 0, plain.type, plain.a_row),
               factor(launch, 1, plain.type, plain.b_row), y, launch.in(2), saved, nullptr},
              choice);
  return complete;
}

/// The product as fused() has it, and what that leaves out.
void launch_whole(Launch& launch, const Attributes& attributes, const Product& plain,
                  const Batches& batches, float* y) {
  const Product wanted = fused(plain, attributes, launch.has_input(2));
  Epilogue e = epilogue_of(launch, attributes, plain.n);
  e.z = y;
  const bool reads_saved = wanted.epilogue == ProductEpilogue::kGeluGradient ||
                           wanted.epilogue == ProductEpilogue::kReluGradient;
  float* const saved = reads_saved ? launch.in(3) : e.pre;
  const bool complete = multiply(launch, plain, wanted, batches, y, saved);
  const bool bare = !launch.has_input(2) && attributes.activation < 0;
  if (!complete && !bare) return launch_epilogue(launch, e);
  if (e.y.rounded == nullptr) return;
  launch_round(launch, {y, e.y.rounded, e.rows, e.columns, e.columns, e.y.bfloat16});
}

/// y rounded, and no floats of it. Where the value before the activation is kept, it is what
/// cuBLASLt computes, and the activation's pass rounds; else floats lie in memory of the product's
/// own.
void launch_rounded_product(Launch& launch, const Attributes& attributes, const Product& plain,
                            const Batches& batches) {
  if (!attributes.save_pre) {
    auto* const y = launch.workspace<float>(launch.output().numel);
    return launch_whole(launch, attributes, plain, batches, y);
  }
  Product wanted = plain;
  wanted.bias = plain.batch == 1 && launch.has_input(2);
  Epilogue e = epilogue_of(launch, attributes, plain.n);
  e.z = e.pre;
  if (multiply(launch, plain, wanted, batches, e.pre, nullptr)) e.bias = nullptr;
  if (e.bias == nullptr) e.pre = nullptr;  // it is there
  launch_epilogue(launch, e);
}

void launch_product(Launch& launch, const Attributes& attributes) {
  if (launch.output().numel == 0) return;
  Batches batches;
  Product plain = describe(launch, attributes, batches);
  plain.type = attributes.bf16   ? ProductType::kBfloat16
               : attributes.fp16 ? ProductType::kFloat16
                                 : launch.products().type();
  align_rows(launch, plain);
  if (is_half(launch.output().dtype))
    return launch_rounded_product(launch, attributes, plain, batches);
  const bool bare = !launch.has_input(2) && attributes.activation < 0;
  if (bare && plain.k > 0) {
    const int64_t pieces = pieces_of(plain);
    if (pieces > 0 ? launch_in_pieces(launch, plain, pieces) : launch_in_parts(launch, plain))
      return;
  }
  launch_whole(launch, attributes, plain, batches, launch.out());
}

}  // namespace

void launch_roundFactor(Launch& launch) {
  const Tensor& y = launch.output();
  if (y.numel == 0) return;
  const int64_t columns = y.dims[y.rank - 1];
  launch_round(launch, {launch.in(0), launch.out<uint16_t>(), y.numel / columns, columns,
                        columns + y.padding, y.dtype == DType::kBFloat16});
}

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
