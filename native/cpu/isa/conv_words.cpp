// Weights of a gathered product of bfloat16: words of two channels for each tap, in the order of
// the gathered rows.
#include "cpu/isa/conv.h"
#include "cpu/isa/words.h"

namespace tandem::cpu::TANDEM_ISA_NS {

namespace {

struct WordsParams {
  int64_t rows;  // of a group
  int64_t channels, taps, words;
  int64_t group, row, channel;  // floats between those of the weights
  int32_t from, to;
};

// Tile: a row.
void words_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<WordsParams>(params);
  const float* from =
      static_cast<const float*>(operands[p.from]) + tile / p.rows * p.group + tile % p.rows * p.row;
  float* to = static_cast<float*>(operands[p.to]) + tile * p.words;
  float* const end = to + p.words;
  for (int64_t c = 0; c < p.channels; c += 2, from += 2 * p.channel, to += p.taps) {
    for (int64_t t = 0; t < p.taps; t += kLanes) {
      const int count = static_cast<int>(least(kLanes, p.taps - t));
      const Lanes low = load_lanes(from + t, count);
      const Lanes high =
          c + 1 < p.channels ? load_lanes(from + p.channel + t, count) : spread(0.0F);
      store_words(to + t, to_bf16(low) | shl<16>(to_bf16(high)), count);
    }
  }
  for (; to < end; ++to) *to = 0.0F;
}

}  // namespace

int64_t gathered_words(int64_t channels, int64_t taps) {
  return round_up(ceil_div(channels, 2) * taps, best_kernels(GEMM_BF16)->k_step);
}

double product_time(bool bf16) {
  return bf16 ? 0.5 * best_kernels(GEMM_BF16)->steps_per_word : 1.0;
}

int32_t emit_words(const ConvShape& s, bool backward, Emitter& emit) {
  WordsParams p = {};
  p.taps = s.tap_rows * s.tap_columns;
  p.group = s.out * s.in * p.taps;
  p.rows = backward ? s.in : s.out;
  p.channels = backward ? s.out : s.in;
  p.row = backward ? p.taps : s.in * p.taps;
  p.channel = backward ? s.in * p.taps : p.taps;
  p.words = gathered_words(p.channels, p.taps);
  const int64_t rows = s.groups * p.rows;
  p.from = 1;
  p.to = emit.workspace(rows * p.words * 4);
  emit_step(emit, words_tile, p, rows, 20.0 + 0.5 * static_cast<double>(rows * p.words));
  return p.to;
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
