// What a launcher needs to put a matrix product on a stream.
#pragma once

#include <vector>

#include "cuda/host/byte_choices.h"
#include "cuda/host/products.h"

namespace tandem::cuda {

class ProductRunner {
 public:
  /// `type`: how float32 products are computed, kFloat32 or kTf32.
  ProductRunner(const lt::Functions& lt, lt::Handle handle, ProductChoices& choices,
                ByteChoices& byte_choices, ProductType type)
      : lt_(lt), handle_(handle), choices_(choices), byte_choices_(byte_choices), type_(type) {}

  [[nodiscard]] ProductType type() const { return type_; }
  ProductChoice choose(const Product& product) { return choices_.choose(product); }
  /// Ways of our own that choose() tries.
  [[nodiscard]] std::vector<FloatWay> ways(const Product& product) const {
    return choices_.ways(product);
  }
  /// How a product of bytes is computed.
  ByteWay choose_bytes(const ByteShape& shape) { return byte_choices_.choose(shape); }
  /// Those that it may be computed in.
  [[nodiscard]] std::vector<ByteWay> byte_ways(const ByteShape& shape) const {
    return byte_choices_.ways(shape);
  }
  /// Throws ERR_DEVICE.
  void run(const Product& product, const ProductOperands& operands, const ProductChoice& choice,
           lt::Stream stream);

 private:
  const lt::Functions& lt_;
  lt::Handle handle_;
  ProductChoices& choices_;
  ByteChoices& byte_choices_;
  ProductType type_;
};

}  // namespace tandem::cuda
