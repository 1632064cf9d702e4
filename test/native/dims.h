// Plain index arithmetic, for tests of ops that move elements.
#pragma once

#include <cstdint>
#include <vector>

#include "core/attributes.h"

namespace tandem::cpu {

using Dims = std::vector<int64_t>;

inline IntList list_of(const Dims& values) {
  IntList list{};
  for (const int64_t v : values) list.values[list.count++] = v;
  return list;
}

/// Index of each dimension of element `i`.
inline Dims indices(const Dims& dims, int64_t i) {
  Dims at(dims.size());
  for (size_t k = dims.size(); k-- > 0;) {
    at[k] = i % dims[k];
    i /= dims[k];
  }
  return at;
}

/// Which element is at `at`; of an operand that is broadcast, its element there.
inline int64_t flat(const Dims& dims, const Dims& at) {
  int64_t i = 0;
  for (size_t k = 0; k < dims.size(); ++k) {
    const int64_t place = at[k + at.size() - dims.size()];
    i = i * dims[k] + (dims[k] == 1 ? 0 : place);
  }
  return i;
}

}  // namespace tandem::cpu
