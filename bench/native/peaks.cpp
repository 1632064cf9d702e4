#include "peaks.h"

#include <string_view>

#include "cpu/cpu_features.h"
#include "cpu/tile_config.h"

#if defined(__GNUC__) && defined(__x86_64__)
#if !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"  // GCC 12 about its own _mm512_undefined_*
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#if !defined(__clang__)
#pragma GCC diagnostic pop
#endif
#endif

namespace tandem::bench {

#if defined(__GNUC__) && defined(__x86_64__)

namespace {

constexpr int kChains = 12;

volatile int sink;

__attribute__((target("avx512f,avx512bf16"))) double bf16_avx512(int64_t rounds) {
  __m512 chains[kChains];
  for (__m512& chain : chains) chain = _mm512_setzero_ps();
  const auto x = reinterpret_cast<__m512bh>(_mm512_set1_epi32(0x3f003f00));
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 12
    for (__m512& chain : chains) chain = _mm512_dpbf16_ps(chain, x, x);
  }
  for (const __m512& chain : chains) sink = static_cast<int>(_mm512_cvtss_f32(chain));
  return static_cast<double>(rounds) * kChains * 32 * 2;
}

__attribute__((target("avx512f,avx512vnni"))) double s8_avx512(int64_t rounds) {
  __m512i chains[kChains];
  for (__m512i& chain : chains) chain = _mm512_setzero_si512();
  const __m512i x = _mm512_set1_epi32(0x01020304);
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 12
    for (__m512i& chain : chains) chain = _mm512_dpbusd_epi32(chain, x, x);
  }
  for (const __m512i& chain : chains) sink = _mm512_cvtsi512_si32(chain);
  return static_cast<double>(rounds) * kChains * 64 * 2;
}

__attribute__((target("avx2,avxvnni"))) double s8_avx_vnni(int64_t rounds) {
  __m256i chains[kChains];
  for (__m256i& chain : chains) chain = _mm256_setzero_si256();
  const __m256i x = _mm256_set1_epi32(0x01020304);
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 12
    for (__m256i& chain : chains) chain = _mm256_dpbusd_avx_epi32(chain, x, x);
  }
  for (const __m256i& chain : chains) sink = _mm256_extract_epi32(chain, 0);
  return static_cast<double>(rounds) * kChains * 32 * 2;
}

// Without VNNI: exact products of pairs of 16 bits, and their addition. The product is the same
// each time; the empty assembly hides that from the compiler. An addition takes one cycle, so that
// few sums do.

constexpr int kSums = 6;

__attribute__((target("avx512f,avx512bw"))) double pairs_avx512(int64_t rounds) {
  __m512i sums[kSums];
  for (__m512i& sum : sums) sum = _mm512_setzero_si512();
  __m512i x = _mm512_set1_epi32(0x00010002);
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 6
    for (__m512i& sum : sums) {
      __asm__ volatile("" : "+v"(x));
      sum = _mm512_add_epi32(sum, _mm512_madd_epi16(x, x));
    }
  }
  for (const __m512i& sum : sums) sink = _mm512_cvtsi512_si32(sum);
  return static_cast<double>(rounds) * kSums * 32 * 2;
}

__attribute__((target("avx2"))) double pairs_avx2(int64_t rounds) {
  __m256i sums[kSums];
  for (__m256i& sum : sums) sum = _mm256_setzero_si256();
  __m256i x = _mm256_set1_epi32(0x00010002);
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 6
    for (__m256i& sum : sums) {
      __asm__ volatile("" : "+x"(x));
      sum = _mm256_add_epi32(sum, _mm256_madd_epi16(x, x));
    }
  }
  for (const __m256i& sum : sums) sink = _mm256_extract_epi32(sum, 0);
  return static_cast<double>(rounds) * kSums * 16 * 2;
}

// AMX: six tiles of sums (a product takes 52 cycles and begins every 16), which keep one tile of
// each operand. The intrinsics take the numbers of tiles as literals.

using cpu::kTileBytes;
using cpu::kTileRows;
constexpr int kTileSums = 6;
constexpr cpu::TileConfig kTileConfig;

/// Words of a tile: 0.5 twice in bfloat16, or small bytes.
struct alignas(64) TileWords {
  uint32_t words[kTileRows * kTileBytes / 4];
  explicit TileWords(uint32_t word) {
    for (uint32_t& one : words) one = word;
  }
};

#define TANDEM_BEGIN_TILES(operands)                         \
  _tile_loadconfig(&kTileConfig);                            \
  _tile_zero(0);                                             \
  _tile_zero(1);                                             \
  _tile_zero(2);                                             \
  _tile_zero(3);                                             \
  _tile_zero(4);                                             \
  _tile_zero(5);                                             \
  /* gcc's intrinsic does not say that it reads memory */    \
  __asm__ volatile("" : : "r"((operands).words) : "memory"); \
  _tile_loadd(6, (operands).words, kTileBytes);              \
  _tile_loadd(7, (operands).words, kTileBytes)

__attribute__((target("amx-tile,amx-bf16"))) double bf16_amx(int64_t rounds) {
  const TileWords operands(0x3f003f00);
  TANDEM_BEGIN_TILES(operands);
  for (int64_t i = 0; i < rounds; ++i) {
    _tile_dpbf16ps(0, 6, 7);
    _tile_dpbf16ps(1, 6, 7);
    _tile_dpbf16ps(2, 6, 7);
    _tile_dpbf16ps(3, 6, 7);
    _tile_dpbf16ps(4, 6, 7);
    _tile_dpbf16ps(5, 6, 7);
  }
  _tile_release();
  return static_cast<double>(rounds) * kTileSums * kTileRows * kTileRows * 32 * 2;
}

__attribute__((target("amx-tile,amx-int8"))) double s8_amx(int64_t rounds) {
  const TileWords operands(0x01020304);
  TANDEM_BEGIN_TILES(operands);
  for (int64_t i = 0; i < rounds; ++i) {
    _tile_dpbusd(0, 6, 7);
    _tile_dpbusd(1, 6, 7);
    _tile_dpbusd(2, 6, 7);
    _tile_dpbusd(3, 6, 7);
    _tile_dpbusd(4, 6, 7);
    _tile_dpbusd(5, 6, 7);
  }
  _tile_release();
  return static_cast<double>(rounds) * kTileSums * kTileRows * kTileRows * 64 * 2;
}

#undef TANDEM_BEGIN_TILES

}  // namespace

PeakKernel bf16_peak(const char* isa) {
  if (std::string_view(isa) != "avx512") return nullptr;
  if (cpu::has_amx_bf16()) return bf16_amx;
  return cpu::has_avx512_bf16() ? bf16_avx512 : nullptr;
}

PeakKernel s8_peak(const char* isa) {
  const std::string_view name = isa;
  if (name == "avx512" && cpu::has_amx_int8()) return s8_amx;
  if (name == "avx512") return cpu::has_avx512_vnni() ? s8_avx512 : pairs_avx512;
  if (name == "avx2") return cpu::has_avx_vnni() ? s8_avx_vnni : pairs_avx2;
  return nullptr;
}

#else

PeakKernel bf16_peak(const char* /*isa*/) { return nullptr; }
PeakKernel s8_peak(const char* /*isa*/) { return nullptr; }

#endif

}  // namespace tandem::bench
