// Which candidate was the fastest for which product, kept in a file for the processes to come: they
// start without measuring, and compute the same bits. Whoever asks takes no more from it than a
// candidate that is offered now, so that no file can make a library run what it has not proposed.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "cuda/host/products.h"

namespace tandem::cuda {

class ChoiceFile {
 public:
  /// Keeps nothing.
  ChoiceFile() = default;
  /// Reads what there is. `machine` says all that choices depend on beside the product: lines of
  /// other machines are passed over like damaged ones. A file that cannot be read or written is as
  /// good as none.
  ChoiceFile(std::string path, const std::string& machine);

  /// What was kept for a product, or null. Only `own`, `algorithm` and `ms` are.
  [[nodiscard]] const ProductChoice* find(const Product& product) const;
  /// Adds a line at the end, as other processes may at the same time.
  void add(const Product& product, const ProductChoice& choice);

 private:
  std::string path_;
  uint64_t machine_ = 0;  ///< what the checksum of a line begins with
  std::map<Product, ProductChoice> kept_;
};

}  // namespace tandem::cuda
