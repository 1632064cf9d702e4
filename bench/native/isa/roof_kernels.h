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

/// Elements [begin, end), `count` times over.
struct Passes {
  int64_t begin, end;
  int64_t count;
};

/// How a sweep goes about it; which is fastest differs from place to place.
enum class Way : uint8_t {
  kSteps,      ///< loads and stores a vector of each stream in turn
  kFours,      ///< loads four vectors of each stream, then stores four
  kStreaming,  ///< in turn, but stores go past the caches, which spares reading what they write
               ///< over
};

struct RoofKernels {
  /// Runs `rounds` rounds of independent multiply-adds and returns their operations.
  double (*multiply_add)(int64_t rounds);
  /// Passes over the streams with next to no arithmetic: those read, then those written unless that
  /// is in place. Streams begin at pages, and passes at multiples of 128 elements.
  void (*sweep)(const Traffic& traffic, Way way, float* const* streams, const Passes& passes);
};

}  // namespace tandem::bench

#define TANDEM_DECLARE_ROOFS(ns)                \
  namespace tandem::cpu::ns {                   \
  extern const bench::RoofKernels roof_kernels; \
  }
