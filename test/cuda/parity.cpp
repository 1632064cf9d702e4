#include "parity.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "cuda/host/loader.h"

namespace tandem::check {
namespace {

/// Four bytes an element, whatever the type.
using Words = std::vector<int32_t>;

Words fill(const Feed& feed, uint32_t seed) {
  std::mt19937 engine(seed);
  Words words(static_cast<size_t>(make_tensor(feed.shape, feed.dtype).numel));
  for (int32_t& word : words) {
    const double unit = static_cast<double>(engine() >> 8) * 0x1p-24;
    const double value = feed.low + (feed.high - feed.low) * unit;
    const auto number = static_cast<float>(value);
    if (feed.dtype == DType::kInt32) {
      word = static_cast<int32_t>(std::floor(value));
    } else {
      std::memcpy(&word, &number, sizeof word);
    }
  }
  return words;
}

GraphDescription describe(const Case& c) {
  GraphDescription d;
  for (const Feed& feed : c.feeds)
    d.inputs.push_back({std::to_string(d.inputs.size()), feed.shape, feed.dtype});
  d.nodes = c.nodes;
  d.outputs = {static_cast<int64_t>(c.feeds.size() + c.nodes.size()) - 1};
  return d;
}

const float* floats(const Memory& memory) {
  return reinterpret_cast<const float*>(memory.data.get());
}

void check_same(const Case& c, const char* what, const Evaluation& got, const Evaluation& want) {
  for (size_t i = 0; i < want.tensors.size(); ++i) {
    const double far =
        distance(floats(got.outputs[i]), floats(want.outputs[i]), want.tensors[i].numel);
    const bool near = far <= c.tolerance;
    if (!near) std::printf("  %s: %s %zu differs by %g\n", c.name.c_str(), what, i, far);
    CHECK(near);
  }
}

/// The library that was built with the tests, unless they run elsewhere and are told where it lies.
cuda::LoaderPaths library_paths() {
  cuda::LoaderPaths paths = cuda::default_paths();
  // NOLINTNEXTLINE(concurrency-mt-unsafe): nothing of ours changes the environment
  if (std::getenv("TANDEM_CUDA_LIBRARY") == nullptr) paths.library = {TANDEM_CUDA_FILE};
  return paths;
}

}  // namespace

const Backend& gpu() {
  static const Backend& backend = cuda::Loader(library_paths()).backend(0);
  return backend;
}

double distance(const float* a, const float* b, int64_t n) {
  double difference = 0;
  double norm = 0;
  for (int64_t i = 0; i < n; ++i) {
    const auto x = static_cast<double>(a[i]);
    const auto y = static_cast<double>(b[i]);
    if (!std::isfinite(x) || !std::isfinite(y)) {
      const bool same = x == y || (std::isnan(x) && std::isnan(y));
      if (!same) return INFINITY;
      continue;
    }
    difference += (x - y) * (x - y);
    norm += y * y;
  }
  return difference == 0 ? 0 : std::sqrt(difference / std::fmax(norm, 1e-30));
}

void compare(const Case& c) {
  const GraphDescription d = describe(c);
  std::vector<Words> memory;
  std::vector<const void*> feeds;
  for (size_t i = 0; i < c.feeds.size(); ++i)
    memory.push_back(fill(c.feeds[i], static_cast<uint32_t>(i) + 17));
  for (const Words& words : memory) feeds.push_back(words.data());
  const EvaluateOptions options{true, 7, 0, c.precision};
  try {
    if (!c.gradients) {
      check_same(c, "output", evaluate(d, 1, feeds, options, gpu()),
                 evaluate(d, 1, feeds, options, cpu_backend()));
      return;
    }
    const Evaluation shape = evaluate(d, 1, feeds, options, cpu_backend());
    const Words cotangent = fill({shape_of(shape.tensors[0])}, 99);
    const std::vector<const float*> cotangents = {reinterpret_cast<const float*>(cotangent.data())};
    std::vector<int64_t> wrt;
    for (size_t i = 0; i < c.feeds.size(); ++i) {
      if (c.feeds[i].dtype == DType::kFloat32) wrt.push_back(static_cast<int64_t>(i));
    }
    check_same(c, "output or gradient", vjp(d, 1, feeds, cotangents, wrt, options, gpu()),
               vjp(d, 1, feeds, cotangents, wrt, options, cpu_backend()));
  } catch (const Error& error) {
    std::printf("  %s: %s\n", c.name.c_str(), error.what());
    CHECK(false);
  }
}

}  // namespace tandem::check
