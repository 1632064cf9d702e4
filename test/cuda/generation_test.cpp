// What generation asks of a GPU, against the CPU: attention to a cache that grows from call to
// call, for rows of several sequences, and rotary positions of each row's own.
#include <vector>

#include "core/predictor.h"
#include "parity.h"

using namespace tandem;
using namespace tandem::check;

namespace {

struct Sizes {
  int64_t rows, slots, length, heads, depth;
};

std::vector<float> random_numbers(int64_t n, uint32_t seed) {
  std::mt19937 engine(seed);
  std::vector<float> x(static_cast<size_t>(n));
  for (float& value : x) value = static_cast<float>(engine() >> 8) * 0x1p-23F - 1.0F;
  return x;
}

GraphDescription description(const Sizes& s) {
  const int64_t width = s.heads * s.depth;
  GraphDescription d;
  d.inputs = {{"qkv", {s.rows, 1, 3 * width}, DType::kFloat32},
              {"cache", {s.slots, s.length, 2 * width}, DType::kFloat32},
              {"slot", {s.rows, 1}, DType::kInt32},
              {"position", {s.rows, 1}, DType::kInt32}};
  d.nodes = {{"cachedAttention", {0, 1, 2, 3}, {{"heads", static_cast<double>(s.heads)}}}};
  d.outputs = {4};
  return d;
}

/// Results of all steps, and the cache after them. Row r stands in slot r - 1, so that the first is
/// in none; each step is one position further, and the last ones are beyond the cache.
std::vector<float> generated(const Sizes& s, const Backend& backend) {
  const GraphDescription d = description(s);
  const ParameterStore store(d.parameters, 1);
  Predictor predictor(store, d, 0, s.rows, backend);
  Predictor::Session session(predictor);
  const int64_t width = s.heads * s.depth;
  std::vector<float> cache = random_numbers(s.slots * s.length * 2 * width, 2);
  const auto bytes = static_cast<int64_t>(cache.size() * sizeof(float));
  const Memory state = predictor.allocate_state(bytes);
  auto* const host = reinterpret_cast<std::byte*>(cache.data());
  backend.copy(state.data.get(), host, bytes, CopyKind::kToDevice);
  std::vector<float> results;
  for (int32_t step = 0; step < s.length + 1; ++step) {
    const std::vector<float> qkv =
        random_numbers(s.rows * 3 * width, 10 + static_cast<uint32_t>(step));
    std::vector<int32_t> slot;
    std::vector<int32_t> position;
    for (int32_t r = 0; r < s.rows; ++r) {
      slot.push_back(r - 1);
      position.push_back(step + r % 2 - (step == 0 ? r % 2 * 2 : 0));
    }
    std::vector<float> y(static_cast<size_t>(s.rows * width));
    session.run(s.rows, {qkv.data(), state.data.get(), slot.data(), position.data()}, {y.data()});
    results.insert(results.end(), y.begin(), y.end());
  }
  backend.copy(host, state.data.get(), bytes, CopyKind::kToHost);
  results.insert(results.end(), cache.begin(), cache.end());
  return results;
}

}  // namespace

TEST(gpu_attention_to_a_cache) {
  const Sizes all[] = {{1, 1, 1, 1, 1}, {3, 2, 9, 2, 7}, {4, 4, 20, 3, 64}, {2, 3, 11, 1, 200}};
  for (const Sizes& s : all) {
    try {
      const std::vector<float> got = generated(s, gpu());
      const std::vector<float> want = generated(s, cpu_backend());
      const double far = distance(got.data(), want.data(), static_cast<int64_t>(want.size()));
      if (!(far <= kTolerance)) std::printf("  depth %d differs by %g\n", int(s.depth), far);
      CHECK(far <= kTolerance);
    } catch (const Error& error) {
      std::printf("  %s\n", error.what());
      CHECK(false);
    }
  }
}

TEST(gpu_rotary_positions) {
  const Shape shapes[] = {{5, 1, 12}, {3, 2, 7, 8}};
  for (const Shape& shape : shapes) {
    const Feed positions{Shape(shape.begin(), shape.end() - 1), 0, 900, DType::kInt32};
    compare({"rotary positions",
             {{shape}, positions},
             {{"rotary", {0, 1}, {{"depth", 4.0}}}},
             true,
             2e-5});
  }
}
