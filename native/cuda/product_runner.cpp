#include "cuda/product_runner.h"

#include <string>

#include "core/error.h"
#include "cuda/float_product.h"

namespace tandem::cuda {

void ProductRunner::run(const Product& product, const ProductOperands& operands,
                        const ProductChoice& choice, lt::Stream stream) {
  if (choice.own.splits > 0) {
    launch_float_product(product, operands, choice.own, static_cast<cudaStream_t>(stream));
    return;
  }
  ProductDescription description(lt_, product);
  const lt::Status status =
      description.run(handle_, operands, choice.algorithm, choice.workspace_bytes, stream);
  if (status == lt::kSuccess) return;
  fail(ErrorCode::kDevice, "expected cuBLASLt to multiply [" + std::to_string(product.m) + ", " +
                               std::to_string(product.k) + "] by [" + std::to_string(product.k) +
                               ", " + std::to_string(product.n) + "], received status " +
                               std::to_string(status));
}

}  // namespace tandem::cuda
