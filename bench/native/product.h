// One matrix product of the table, and who computes it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "measure.h"
#include "suite.h"

namespace tandem::bench {

/// C[m,n] = A[m,k] * B[k,n], each matrix in memory of its own. Types:
///   f32   all float32
///   bf16  all bfloat16
///   mixed all float32, multiplied as bfloat16
///   s8    A uint8, B int8 with a scale for each column, C uint8: requantized
struct Product {
  int64_t m, n, k;
  bool trans_a = false;    ///< A lies in memory as [k,m]
  bool trans_b = false;    ///< B lies in memory as [n,k]
  bool packed = false;     ///< B is constant and may be kept in any layout
  bool bias_relu = false;  ///< C = max(A * B + bias, 0)

  [[nodiscard]] double operations() const {
    return 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
  }
  /// "128x512x784 NT packed bias+relu": N as it is, T transposed, A's letter first.
  [[nodiscard]] std::string name() const;
};

/// What A, B and C consist of.
struct Elements {
  Element a, b, c;
};
Elements elements_of(const std::string& type);

Side our_product(const Product& product, const std::string& type, int threads);
// Nothing when the library is not there or cannot do it.
std::optional<Side> onednn_product(const Product& product, const std::string& type, int threads);
std::optional<Side> openblas_product(const Product& product, const std::string& type, int threads);

/// What the libraries say of themselves, as members of a JSON object; empty when there are none.
std::string describe_onednn();
std::string describe_openblas();

}  // namespace tandem::bench
