// The roofs' inner loops, compiled once per instruction set: plain data only, as in
// native/cpu/isa.
#pragma once

#include <cstdint>

namespace tandem::bench {

/// Streams of memory that a sweep reads and writes at the same place.
struct Traffic {
  int reads;
  int writes;
  bool in_place;  ///< what is written are the first of those read; otherwise streams of their own
};

struct RoofKernels {
  /// Runs `rounds` rounds of independent multiply-adds and returns their operations.
  double (*multiply_add)(int64_t rounds);
  /// One pass over elements [begin, end) of the streams with next to no arithmetic: those read,
  /// then those written unless that is in place.
  void (*sweep)(const Traffic& traffic, float* const* streams, int64_t begin, int64_t end);
};

}  // namespace tandem::bench

#define TANDEM_DECLARE_ROOFS(ns)                \
  namespace tandem::cpu::ns {                   \
  extern const bench::RoofKernels roof_kernels; \
  }
