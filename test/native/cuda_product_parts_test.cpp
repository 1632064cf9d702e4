// Products in parts that begin and end at whole 16 bytes, carried out on the host.
#include "cuda/host/product_parts.h"

#include <random>

#include "check.h"

using namespace tandem;
using namespace tandem::cuda;

namespace {

/// y (+)= op(a) op(b) over rows of padded lengths, exact in whole numbers.
void multiply(const Product& p, const double* a, const double* b, double* y) {
  const int64_t a_row = std::max(p.a_row, p.trans_a ? p.m : p.k);
  const int64_t b_row = std::max(p.b_row, p.trans_b ? p.k : p.n);
  const int64_t y_row = std::max(p.y_row, p.n);
  for (int64_t i = 0; i < p.m; ++i) {
    for (int64_t j = 0; j < p.n; ++j) {
      double sum = p.adds ? y[i * y_row + j] : 0;
      for (int64_t k = 0; k < p.k; ++k) {
        sum += a[p.trans_a ? k * a_row + i : i * a_row + k] *
               b[p.trans_b ? j * b_row + k : k * b_row + j];
      }
      y[i * y_row + j] = sum;
    }
  }
}

Product product(int64_t m, int64_t n, int64_t k, bool trans_a, bool trans_b) {
  const auto whole = [](int64_t size) { return (size + 7) / 8 * 8; };
  Product p;
  p.type = ProductType::kBfloat16;
  p.m = m;
  p.n = n;
  p.k = k;
  p.trans_a = trans_a;
  p.trans_b = trans_b;
  p.a_row = whole(trans_a ? m : k);
  p.b_row = whole(trans_b ? k : n);
  p.y_row = whole(n);
  return p;
}

/// Whether each of the parts has what cuBLASLt's fast kernels ask for, the small rest apart.
bool is_aligned(const ProductPart& part) {
  const Product& p = part.product;
  const bool k_lies_along = !p.trans_a || p.trans_b;
  return p.n % 8 == 0 && (p.k % 8 == 0 || !k_lies_along) && (p.m % 8 == 0 || !p.trans_a) &&
         part.a % 8 == 0 && part.b % 8 == 0 && part.y % 4 == 0;
}

}  // namespace

TEST(products_fall_into_whole_parts) {
  // one size is odd at a time, and large enough to be worth it
  for (const int64_t odd : {0, 1, 2}) {
    for (const bool trans_a : {false, true}) {
      for (const bool trans_b : {false, true}) {
        int64_t sizes[] = {1024, 1024, 1024};
        sizes[odd] += 5;
        const Product whole = product(sizes[0], sizes[1], sizes[2], trans_a, trans_b);
        const std::vector<ProductPart> parts = aligned_parts(whole);
        const bool matters = odd == 1 || (odd == 0 ? trans_a : !trans_a || trans_b);
        CHECK(parts.size() == (matters ? 2U : 1U));
        CHECK(is_aligned(parts[0]));
        if (!matters) {
          CHECK(parts[0].product == whole);
          continue;
        }
        CHECK(parts[1].a % 8 == 0 && parts[1].b % 8 == 0 && parts[1].y % 4 == 0);
        const Product& rest = parts[1].product;
        CHECK((odd == 0 ? rest.m : odd == 1 ? rest.n : rest.k) == 5);
        CHECK(rest.adds == (odd == 2) && !parts[0].product.adds);
      }
    }
  }
}

TEST(parts_of_products_are_the_product) {
  std::mt19937 engine(1);
  const auto numbers = [&](int64_t count) {
    std::vector<double> all(static_cast<size_t>(count));
    for (double& x : all) x = static_cast<double>(engine() % 9) - 4;
    return all;
  };
  int cut = 0;
  const int64_t shapes[][3] = {{40, 45, 32}, {40, 48, 37}, {45, 48, 32}};
  for (const auto& [m, n, k] : shapes) {
    for (const bool trans_a : {false, true}) {
      for (const bool trans_b : {false, true}) {
        const Product whole = product(m, n, k, trans_a, trans_b);
        const std::vector<ProductPart> parts = aligned_parts(whole, 1);
        cut += parts.size() == 2 ? 1 : 0;
        const std::vector<double> a = numbers((trans_a ? k : m) * whole.a_row);
        const std::vector<double> b = numbers((trans_b ? n : k) * whole.b_row);
        std::vector<double> want(static_cast<size_t>(m * whole.y_row), 0.5);
        std::vector<double> got = want;
        multiply(whole, a.data(), b.data(), want.data());
        for (const ProductPart& part : parts)
          multiply(part.product, a.data() + part.a, b.data() + part.b, got.data() + part.y);
        CHECK(got == want);
      }
    }
  }
  CHECK(cut == 4 + 3 + 2);
}

TEST(products_stay_whole_where_parts_gain_nothing) {
  const auto count = [](const Product& p) { return aligned_parts(p).size(); };
  const Product p = product(1024, 1029, 1024, false, true);
  CHECK(count(p) == 2);
  Product other = p;
  other.type = ProductType::kFloat32;
  CHECK(count(other) == 1);
  other = p;
  other.bias = true;
  CHECK(count(other) == 1);
  other = p;
  other.epilogue = ProductEpilogue::kRelu;
  CHECK(count(other) == 1);
  other = p;
  other.batch = 2;
  CHECK(count(other) == 1);
  other = p;
  other.y_row = 0;  // rows of y do not begin at whole 16 bytes
  CHECK(count(other) == 1);
  CHECK(count(product(64, 1029, 64, false, true)) == 1);  // too little work
}
