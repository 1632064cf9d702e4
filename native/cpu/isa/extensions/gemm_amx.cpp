// AMX-INT8 and AMX-BF16.
#include "cpu/isa/extensions/gemm_amx.h"

#include "cpu/cpu_features.h"
#include "cpu/isa/extensions/round_bf16_avx512.h"
#include "cpu/isa/gemm_families.h"

namespace tandem::cpu::TANDEM_ISA_NS {

namespace {

constexpr TileConfig kTileConfig;

void begin(void* state) {
  _tile_loadconfig(&kTileConfig);
  begin_pieces(state);
}
// Tiles in their initial state make switches of threads cheap again.
void end() { _tile_release(); }

// gcc's intrinsics do not say that they read memory, so what is stored there could stay undone.
TANDEM_INLINE void reads_memory([[maybe_unused]] const char* p) {
#if defined(__GNUC__) && !defined(__clang__)
  __asm__ volatile("" : : "r"(p) : "memory");
#endif
}

// The intrinsics take the numbers of tiles as literals.
#define TANDEM_EACH_TILE(operation) \
  if constexpr (tile == 0)          \
    operation(0, p, stride);        \
  else if constexpr (tile == 1)     \
    operation(1, p, stride);        \
  else if constexpr (tile == 2)     \
    operation(2, p, stride);        \
  else if constexpr (tile == 3)     \
    operation(3, p, stride);        \
  else if constexpr (tile == 4)     \
    operation(4, p, stride);        \
  else if constexpr (tile == 5)     \
    operation(5, p, stride);        \
  else if constexpr (tile == 6)     \
    operation(6, p, stride);        \
  else                              \
    operation(7, p, stride)

template <bool integers>
struct HardwareTiles {
  using Rounding = RoundingPairs;
  static constexpr bool kIntegers = integers, kSplits = false;

  template <int tile>
  TANDEM_INLINE void zero() {
    if constexpr (tile == 0) _tile_zero(0);
    if constexpr (tile == 1) _tile_zero(1);
    if constexpr (tile == 2) _tile_zero(2);
    if constexpr (tile == 3) _tile_zero(3);
  }
  template <int tile>
  TANDEM_INLINE void load(const char* p, int64_t stride) {
    reads_memory(p);
    TANDEM_EACH_TILE(_tile_loadd);
  }
  // Leaves what else is in the L1 there.
  template <int tile>
  TANDEM_INLINE void load_once(const char* p, int64_t stride) {
    static_assert(tile == 6 || tile == 7);
    reads_memory(p);
    if constexpr (tile == 6)
      _tile_stream_loadd(6, p, stride);
    else
      _tile_stream_loadd(7, p, stride);
  }
  template <int tile>
  TANDEM_INLINE void store(char* p, int64_t stride) {
    TANDEM_EACH_TILE(_tile_stored);
  }
  // The pairs of operands that amx_micro has.
  template <int c, int a, int b>
  TANDEM_INLINE void multiply() {
    static_assert(a == 4 + c / 2 && b == 6 + c % 2);
    if constexpr (integers) {
      if constexpr (c == 0) _tile_dpbusd(0, 4, 6);
      if constexpr (c == 1) _tile_dpbusd(1, 4, 7);
      if constexpr (c == 2) _tile_dpbusd(2, 5, 6);
      if constexpr (c == 3) _tile_dpbusd(3, 5, 7);
    } else {
      if constexpr (c == 0) _tile_dpbf16ps(0, 4, 6);
      if constexpr (c == 1) _tile_dpbf16ps(1, 4, 7);
      if constexpr (c == 2) _tile_dpbf16ps(2, 5, 6);
      if constexpr (c == 3) _tile_dpbf16ps(3, 5, 7);
    }
  }
};

constexpr AmxKernels kInt8 = amx_kernels<HardwareTiles<true>>();
constexpr AmxKernels kBf16 = amx_kernels<HardwareTiles<false>>();
constexpr AmxKernels kFloat = amx_kernels<Splitting<HardwareTiles<false>>>();
constexpr AmxKernels kInt8Software = amx_kernels<SoftwareTiles<true>>();
constexpr AmxKernels kBf16Software = amx_kernels<SoftwareTiles<false>>();
constexpr AmxKernels kFloatSoftware = amx_kernels<Splitting<SoftwareTiles<false>>>();

constexpr GemmRounding kRounding = rounding_of<RoundOperands>();

bool always() { return true; }

}  // namespace

const GemmKernels kS8AmxKernels =
    amx_family("amx_int8", has_amx_int8, GEMM_S8, kInt8.micro, nullptr, &kS8VnniKernels, begin,
               flush_pieces<HardwareTiles<true>>, end);
const GemmKernels kBf16AmxKernels =
    amx_family("amx_bf16", has_amx_bf16, GEMM_BF16, kBf16.micro, &kRounding, nullptr, begin,
               flush_pieces<HardwareTiles<false>>, end);
const GemmKernels kF32AmxKernels =
    amx_float_family("amx_bf16x3", has_amx_bf16, kFloat.micro, begin,
                     flush_pieces<Splitting<HardwareTiles<false>>>, end);
const GemmKernels kS8AmxReference =
    amx_family("amx_int8_reference", always, GEMM_S8, kInt8Software.micro, nullptr, nullptr,
               begin_pieces, flush_pieces<SoftwareTiles<true>>, nullptr);
const GemmKernels kBf16AmxReference =
    amx_family("amx_bf16_reference", always, GEMM_BF16, kBf16Software.micro, &kBf16Rounding,
               nullptr, begin_pieces, flush_pieces<SoftwareTiles<false>>, nullptr);
const GemmKernels kF32AmxReference =
    amx_float_family("amx_bf16x3_reference", always, kFloatSoftware.micro, begin_pieces,
                     flush_pieces<Splitting<SoftwareTiles<false>>>, nullptr);

}  // namespace tandem::cpu::TANDEM_ISA_NS
