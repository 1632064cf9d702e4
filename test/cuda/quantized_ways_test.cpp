// Every way to compute a product of bytes, whichever a device would choose, against sums of the
// host: sums are exact and what follows them is rounded in one order, so that all bits are the
// same.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "check.h"
#include "core/error.h"
#include "cuda/byte_product.h"
#include "on_device.h"

using namespace tandem;
using namespace tandem::cuda;

namespace {

/// Operands of a product, of all bytes that there are.
struct Factors {
  ByteShape shape;
  std::vector<uint8_t> x;
  std::vector<int8_t> w;
  std::vector<int32_t> sums, weight_sums, row_zeros;
  std::vector<float> scales, bias, row_scales;

  explicit Factors(const ByteShape& of) : shape(of) {
    std::mt19937 engine(11);
    const auto m = static_cast<size_t>(shape.m);
    const auto n = static_cast<size_t>(shape.n);
    const auto k = static_cast<size_t>(shape.k);
    x.resize(m * k);
    w.resize(n * k);
    for (uint8_t& byte : x) byte = static_cast<uint8_t>(engine() >> 24);
    for (int8_t& byte : w) byte = static_cast<int8_t>(engine() >> 24);
    const auto number = [&] { return static_cast<float>(engine() >> 8) * 0x1p-24F; };
    for (size_t i = 0; i < n; ++i) {
      scales.push_back(number() * 1e-5F);
      bias.push_back(number() - 0.5F);
    }
    for (size_t i = 0; i < m; ++i) {
      row_scales.push_back(number() + 0.5F);
      row_zeros.push_back(static_cast<int32_t>(engine() >> 24));
    }
    multiply(m, n, k);
  }

 private:
  void multiply(size_t m, size_t n, size_t k) {
    sums.resize(m * n);
    weight_sums.resize(n);
    for (size_t j = 0; j < n; ++j) {
      const int8_t* const column = w.data() + j * k;
      for (size_t l = 0; l < k; ++l) weight_sums[j] += column[l];
      for (size_t i = 0; i < m; ++i) {
        const uint8_t* const row = x.data() + i * k;
        int32_t sum = 0;
        for (size_t l = 0; l < k; ++l) sum += row[l] * column[l];
        sums[i * n + j] = sum;
      }
    }
  }
};

/// What follows the sums.
struct Finish {
  bool to_bytes, by_rows;
  int32_t activation;
};
constexpr float kInverse = 90.0F;
constexpr int32_t kXZero = 119, kYZero = 40;

/// The result's bytes as the host finds them: no activation, or relu.
std::vector<std::byte> expected(const Factors& f, const Finish& finish) {
  const auto n = static_cast<size_t>(f.shape.n);
  const size_t size = finish.to_bytes ? 1 : 4;
  std::vector<std::byte> y(f.sums.size() * size);
  for (size_t i = 0; i < f.sums.size(); ++i) {
    const size_t row = i / n;
    const size_t column = i % n;
    const float unit = finish.to_bytes ? kInverse : 1.0F;
    const int32_t zero = kXZero + (finish.by_rows ? f.row_zeros[row] : 0);
    const float row_scale = finish.by_rows ? f.row_scales[row] : 1.0F;
    const float scale = f.scales[column] * unit * row_scale;
    const int32_t exact = f.sums[i] - zero * f.weight_sums[column];
    float v = std::fma(static_cast<float>(exact), scale, f.bias[column] * unit);
    if (finish.activation >= 0) v = std::fmax(v, 0.0F);
    if (finish.to_bytes) {
      const float low = -static_cast<float>(kYZero);
      const float bounded = std::fmin(std::fmax(v, low), static_cast<float>(255 - kYZero));
      y[i] = static_cast<std::byte>(static_cast<int32_t>(std::nearbyint(bounded)) + kYZero);
    } else {
      std::memcpy(y.data() + i * size, &v, size);
    }
  }
  return y;
}

/// Factors in the device's memory.
struct Operation {
  const Factors& f;
  OnDevice<uint8_t> x{f.x};
  OnDevice<int8_t> w{f.w};
  OnDevice<int32_t> weight_sums{f.weight_sums}, row_zeros{f.row_zeros};
  OnDevice<float> scales{f.scales}, bias{f.bias}, row_scales{f.row_scales};

  explicit Operation(const Factors& factors) : f(factors) {}

  [[nodiscard]] std::vector<std::byte> by(ByteWay way, const Finish& finish) const {
    constexpr size_t kAround = 512;  // bytes before and after y that nothing may write
    constexpr auto kUntouched = std::byte{0xA5};
    const size_t bytes = f.sums.size() * (finish.to_bytes ? 1 : 4);
    std::vector<std::byte> y(bytes + 2 * kAround, kUntouched);
    const OnDevice<std::byte> on_device(y);
    ByteProduct p{};
    p.m = f.shape.m;
    p.n = f.shape.n;
    p.k = f.shape.k;
    p.x = x.data();
    p.w = w.data();
    p.source = ByteSource::kRows;
    p.result = {weight_sums.data(),
                scales.data(),
                bias.data(),
                finish.by_rows ? row_scales.data() : nullptr,
                finish.by_rows ? row_zeros.data() : nullptr,
                on_device.data() + kAround,
                f.shape.n,
                kXZero,
                finish.activation,
                1.0F,
                0.0F,
                kInverse,
                kYZero,
                finish.to_bytes};
    run(p, way);
    y = on_device.read();
    const auto untouched = [&](auto begin) {
      return std::all_of(begin, begin + kAround, [](std::byte b) { return b == kUntouched; });
    };
    CHECK(untouched(y.begin()) && untouched(y.end() - kAround));
    return {y.begin() + kAround, y.end() - kAround};
  }

 private:
  static void run(const ByteProduct& p, ByteWay way) {
    const NodeView node{};
    Launch measured(node, device().products());
    launch_byte_way(measured, p, way);
    const Memory workspace = device().allocate(measured.workspace_bytes());
    Launch launch(node, device().products(), {{}, {}, workspace.data.get(), nullptr}, nullptr);
    launch_byte_way(launch, p, way);
    cuda::check(cudaDeviceSynchronize(), "a product of bytes");
  }
};

void compare_ways(const ByteShape& shape, const std::vector<Finish>& finishes) {
  const Factors factors(shape);
  const Operation operation(factors);
  for (const Finish& finish : finishes) {
    const bool known = finish.activation < 0 || finish.activation == static_cast<int32_t>(Op::relu);
    // other activations may differ from the host's in the last bit, but not from way to way
    const std::vector<std::byte> want =
        known ? expected(factors, finish) : operation.by(ByteWay::kTile64x64, finish);
    for (const ByteWay way : device().products().byte_ways(shape)) {
      const std::vector<std::byte> got = operation.by(way, finish);
      size_t different = 0;
      for (size_t i = 0; i < want.size(); ++i) different += got[i] == want[i] ? 0 : 1;
      if (different > 0) {
        std::printf("  [%d, %d] of %d by way %d, activation %d: %zu of %zu bytes differ\n",
                    static_cast<int>(shape.m), static_cast<int>(shape.n), static_cast<int>(shape.k),
                    static_cast<int>(way), finish.activation, different, want.size());
      }
      CHECK(different == 0);
    }
  }
}

}  // namespace

TEST(gpu_every_way_multiplies_bytes) {
  constexpr auto kRelu = static_cast<int32_t>(Op::relu);
  const std::vector<Finish> all = {
      {false, false, -1}, {false, true, kRelu}, {true, false, kRelu}, {true, true, -1}};
  for (const ByteShape& shape :
       {ByteShape{33, 100, 80}, ByteShape{65, 1, 16}, ByteShape{70, 257, 144},
        ByteShape{129, 255, 528}, ByteShape{130, 1040, 544}, ByteShape{300, 4100, 272}})
    compare_ways(shape, all);
}

TEST(gpu_every_way_has_all_activations) {
  std::vector<Finish> all;
  for (const Op op : {Op::gelu, Op::geluTanh, Op::silu, Op::hardSwish, Op::tanh, Op::sin}) {
    all.push_back({false, true, static_cast<int32_t>(op)});
    all.push_back({true, false, static_cast<int32_t>(op)});
  }
  compare_ways({129, 130, 144}, all);
  compare_ways({77, 255, 272}, all);
}

TEST(gpu_every_way_multiplies_many_bytes) {
  // more tiles than a device has multiprocessors, in bands of which the last is not full
  const std::vector<Finish> some = {{false, true, -1}, {true, false, -1}};
  compare_ways({1024, 1024, 1024}, some);
  compare_ways({2200, 2300, 400}, some);
}
