#include "cuda/host/product_parts.h"

#include <algorithm>

namespace tandem::cuda {
namespace {

constexpr int64_t kAligned = 8;  // numbers of 16 bits in 16 bytes

int64_t a_row(const Product& p) { return std::max(p.a_row, p.trans_a ? p.m : p.k); }
int64_t b_row(const Product& p) { return std::max(p.b_row, p.trans_b ? p.k : p.n); }
int64_t y_row(const Product& p) { return std::max(p.y_row, p.n); }

bool may_be_cut(const Product& p, int64_t least_work) {
  constexpr int64_t kFloats = 4;  // in 16 bytes
  return factor_bytes(p.type) == 2 && p.batch == 1 && !p.bias &&
         p.epilogue == ProductEpilogue::kNone && p.m * p.n * p.k >= least_work &&
         a_row(p) % kAligned == 0 && b_row(p) % kAligned == 0 && y_row(p) % kFloats == 0;
}

}  // namespace

std::vector<ProductPart> aligned_parts(const Product& whole, int64_t least_work) {
  if (!may_be_cut(whole, least_work)) return {{whole}};
  Product first = whole;
  first.a_row = a_row(whole);
  first.b_row = b_row(whole);
  first.y_row = y_row(whole);
  ProductPart rest{first};
  const auto cut = [&](int64_t Product::* dim) {
    const int64_t size = whole.*dim / kAligned * kAligned;
    rest.product.*dim = whole.*dim - size;
    return first.*dim = size;
  };
  if (whole.n % kAligned != 0) {
    const int64_t at = cut(&Product::n);
    rest.b = whole.trans_b ? at * first.b_row : at;
    rest.y = at;
  } else if (whole.k % kAligned != 0 && (!whole.trans_a || whole.trans_b)) {
    const int64_t at = cut(&Product::k);
    rest.a = whole.trans_a ? at * first.a_row : at;
    rest.b = whole.trans_b ? at : at * first.b_row;
    rest.product.adds = true;
  } else if (whole.m % kAligned != 0 && whole.trans_a) {
    const int64_t at = cut(&Product::m);
    rest.a = at;
    rest.y = at * first.y_row;
  } else {
    return {{whole}};
  }
  return {{first}, rest};
}

}  // namespace tandem::cuda
