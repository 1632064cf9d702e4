// Pieces of 8 rows of 16 bytes each, read from shared memory into the fragments of the tensor
// cores' instructions: PTX ISA, "ldmatrix".
#pragma once

#include <cstdint>

#include "cuda/device/scalar.cuh"

namespace tandem::cuda {

/// Four pieces: lane i says where row i % 8 of piece i / 8 begins, a multiple of 16. With g a
/// lane's number / 4 and t the rest, a lane gets the bytes (g, 4t) to (g, 4t + 3) of each.
TANDEM_DEVICE void load_pieces(uint32_t (&d)[4], const void* row) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
               : "r"(address)
               : "memory");
}

/// The same of pieces of 8 x 8 numbers of 16 bits, transposed: a lane gets (2t, g) and, in the
/// upper half of the word, (2t + 1, g).
TANDEM_DEVICE void load_transposed(uint32_t (&d)[4], const void* row) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
               : "r"(address)
               : "memory");
}

}  // namespace tandem::cuda
