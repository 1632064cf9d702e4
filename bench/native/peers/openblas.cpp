// OpenBLAS knows no epilogue: where ours adds a bias and applies an activation, it computes the
// bare product.
#include "product.h"

#ifdef TANDEM_BENCH_OPENBLAS

#include <cblas.h>

#include <memory>

#include "suite.h"

namespace tandem::bench {
namespace {

struct Operands {
  Memory a, b, c;
};

void multiply(const Product& p, const Operands& operands) {
  const auto m = static_cast<blasint>(p.m);
  const auto n = static_cast<blasint>(p.n);
  const auto k = static_cast<blasint>(p.k);
  const float* a = floats(operands.a);
  const float* b = floats(operands.b);
  float* c = floats(operands.c);
  if (m == 1) {
    // what a user of BLAS calls for one row: c = B' a
    cblas_sgemv(CblasRowMajor, p.trans_b ? CblasNoTrans : CblasTrans, p.trans_b ? n : k,
                p.trans_b ? k : n, 1.0F, b, p.trans_b ? k : n, a, 1, 0.0F, c, 1);
    return;
  }
  cblas_sgemm(CblasRowMajor, p.trans_a ? CblasTrans : CblasNoTrans,
              p.trans_b ? CblasTrans : CblasNoTrans, m, n, k, 1.0F, a, p.trans_a ? m : k, b,
              p.trans_b ? k : n, 0.0F, c, n);
}

}  // namespace

std::optional<Side> openblas_product(const Product& product, const std::string& type, int threads) {
  if (type != "f32") return {};
  auto operands = std::make_shared<Operands>(Operands{
      noise(product.m * product.k), noise(product.k * product.n), noise(product.m * product.n)});
  return Side{"openblas", product.operations(), [=](int64_t calls) {
                openblas_set_num_threads(threads);
                for (int64_t i = 0; i < calls; ++i) multiply(product, *operands);
              }};
}

std::string describe_openblas() {
  // "OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH ..."
  const std::string config = openblas_get_config();
  const size_t version = config.find(' ') + 1;
  return "\"openblas\":\"" + config.substr(version, config.find(' ', version) - version) + " for " +
         openblas_get_corename() + "\"";
}

}  // namespace tandem::bench

#else

namespace tandem::bench {

std::optional<Side> openblas_product(const Product&, const std::string&, int) { return {}; }
std::string describe_openblas() { return {}; }

}  // namespace tandem::bench

#endif
