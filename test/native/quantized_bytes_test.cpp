// Ops that make bytes, move them and make floats of them, which have one right result.
#include "quantized_support.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "check.h"
#include "isas.h"

namespace {

using namespace tandem;
using namespace tandem::cpu;

TEST(quantize_rounds_to_even_and_moves_channels) {
  Random random{std::mt19937(14)};
  const int64_t n = 2, c = 3, h = 17, w = 19;
  std::vector<float> x = random.list<float>(n * c * h * w, -300, 700);
  for (float& v : x) v *= 0.25F;
  for (const Isa& isa : isas()) {
    for (const bool last : {false, true}) {
      const ops::Quantize::Attributes attributes{0.5F, 40, last};
      KernelHarness kernel(isa.launchers, Op::quantize);
      kernel.attributes(attributes).input({n, c, h, w}, x).output({n, h, w, c}, DType::kUInt8);
      kernel.run();
      CHECK(kernel.clean());
      const std::vector<uint8_t> found = kernel.bytes(0);
      for (int64_t i = 0; i < n * c * h * w; ++i) {
        const int64_t image = i / (c * h * w), channel = i / (h * w) % c, pixel = i % (h * w);
        const int64_t at = last ? (image * h * w + pixel) * c + channel : i;
        const double wanted =
            std::nearbyint(static_cast<double>(x[static_cast<size_t>(i)]) / 0.5) + 40;
        CHECK(found[static_cast<size_t>(at)] == std::clamp(wanted, 0.0, 255.0));
      }
    }
  }
}

TEST(bytes_move_their_channels_and_back) {
  Random random{std::mt19937(15)};
  const int64_t n = 2, c = 5, h = 20, w = 15;
  const auto x = random.list<uint8_t>(n * c * h * w, 0, 255);
  for (const Isa& isa : isas()) {
    KernelHarness first(isa.launchers, Op::moveChannels);
    first.attributes(ops::MoveChannels::Attributes{true}).input({n, c, h, w}, x);
    first.output({n, h, w, c}, DType::kUInt8).run();
    KernelHarness second(isa.launchers, Op::moveChannels);
    second.attributes(ops::MoveChannels::Attributes{false}).input({n, h, w, c}, first.bytes(0));
    second.output({n, c, h, w}, DType::kUInt8).run();
    CHECK(first.clean() && second.clean());
    CHECK(second.bytes(0) == x);
    CHECK(first.bytes(0)[1] == x[static_cast<size_t>(h * w)]);
  }
}

TEST(max_pool_of_bytes) {
  Random random{std::mt19937(16)};
  const int64_t n = 2, c = 35, h = 9, w = 11;
  const auto x = random.list<uint8_t>(n * c * h * w, 0, 255);
  ops::PoolAttributes pool{};
  pool.kernel = {3, 2};
  pool.stride = {2, 2};
  pool.padding = {1, 1};
  const int64_t rows = (h + 2 - 3) / 2 + 1, columns = (w + 2 - 2) / 2 + 1;
  for (const Isa& isa : isas()) {
    KernelHarness kernel(isa.launchers, Op::maxPoolBytes);
    kernel.attributes(pool).input({n, h, w, c}, x);
    kernel.output({n, rows, columns, c}, DType::kUInt8).order(TileOrder::kShuffled).run();
    CHECK(kernel.clean());
    const std::vector<uint8_t> found = kernel.bytes(0);
    for (size_t i = 0; i < found.size(); ++i) {
      const auto at = static_cast<int64_t>(i);
      const int64_t channel = at % c, column = at / c % columns, row = at / c / columns % rows;
      int wanted = -1;
      for (int64_t r = row * 2 - 1; r < row * 2 + 2; ++r)
        for (int64_t q = column * 2 - 1; q < column * 2 + 1; ++q) {
          if (r < 0 || r >= h || q < 0 || q >= w) continue;
          const int64_t from = ((at / c / columns / rows * h + r) * w + q) * c + channel;
          wanted = std::max<int>(wanted, x[static_cast<size_t>(from)]);
        }
      CHECK(found[i] == wanted);
    }
  }
}

TEST(quantized_embedding_reads_rows_with_their_scales) {
  Random random{std::mt19937(17)};
  const int64_t count = 13, dim = 37;
  const Weights w(random, count, dim);
  const std::vector<int32_t> index = {0, 12, 5, -1, 13, 5};
  for (const Isa& isa : isas()) {
    KernelHarness kernel(isa.launchers, Op::quantizedEmbedding);
    kernel.attributes(ops::QuantizedEmbedding::Attributes{0, w.scales.data()});
    kernel.input({6}, index);
    w.freeze(kernel, {count, dim}, random.in(0, 1) == 1);
    kernel.output({6, dim}).run();
    CHECK(kernel.clean());
    const std::vector<float> found = kernel.floats(0);
    for (size_t i = 0; i < found.size(); ++i) {
      const int64_t row = index[i / static_cast<size_t>(dim)];
      if (row < 0 || row >= count) {
        CHECK(std::isnan(found[i]));
      } else {
        CHECK(found[i] == w.floats[static_cast<size_t>(row * dim) + i % static_cast<size_t>(dim)]);
      }
    }
  }
}

TEST(weights_of_bytes_become_floats) {
  Random random{std::mt19937(21)};
  for (const Isa& isa : isas()) {
    for (const int64_t columns : {1, 37, 5000}) {
      const Weights w(random, 9, columns);
      KernelHarness kernel(isa.launchers, Op::dequantizeWeight);
      kernel.attributes(ops::ByteWeight{0, w.scales.data()});
      w.freeze(kernel, {9, columns}, columns > 1);
      kernel.output({9, columns}).run();
      CHECK(kernel.clean());
      CHECK(kernel.floats(0) == w.floats);
    }
  }
}

}  // namespace
