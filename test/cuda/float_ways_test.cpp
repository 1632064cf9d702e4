// Every way in which a kernel of our own multiplies floats, whichever a device would choose,
// against sums of the host in double precision.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <vector>

#include "check.h"
#include "cuda/float_product.h"
#include "on_device.h"

using namespace tandem;
using namespace tandem::cuda;

namespace {

constexpr float kUntouched = 777.0F;
constexpr int64_t kAround = 64;  // floats before and after a result that nothing may write

using Floats = OnDevice<float>;

double gelu(double x) {
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}

/// What a product reads, and its result in double precision.
struct Factors {
  Product p;
  std::vector<float> a, b, bias, saved;
  std::vector<double> y, before;  ///< rows of y_row; before the activation, of the first matrix

  Factors(const Product& product, float low) : p(product) {
    std::mt19937 engine(5);
    const auto fill = [&](std::vector<float>& to, int64_t count) {
      to.resize(static_cast<size_t>(count));
      for (float& x : to) x = low + (1 - low) * static_cast<float>(engine() >> 8) * 0x1p-24F;
    };
    fill(a, lines_of_a() * along_a() + (p.batch - 1) * p.a_step);
    fill(b, lines_of_b() * along_b() + (p.batch - 1) * p.b_step);
    fill(bias, p.n);
    fill(saved, p.m * p.n);
  }
  [[nodiscard]] int64_t lines_of_a() const { return p.trans_a ? p.k : p.m; }
  [[nodiscard]] int64_t lines_of_b() const { return p.trans_b ? p.n : p.k; }
  [[nodiscard]] int64_t along_a() const { return std::max(p.trans_a ? p.m : p.k, p.a_row); }
  [[nodiscard]] int64_t along_b() const { return std::max(p.trans_b ? p.k : p.n, p.b_row); }
  [[nodiscard]] int64_t along_y() const { return std::max(p.n, p.y_row); }
  [[nodiscard]] size_t size_of_y() const {
    return static_cast<size_t>(p.m * along_y() + (p.batch - 1) * p.y_step);
  }
  [[nodiscard]] float a_at(int64_t batch, int64_t row, int64_t i) const {
    return a[static_cast<size_t>(batch * p.a_step + (p.trans_a ? i : row) * along_a() +
                                 (p.trans_a ? row : i))];
  }
  [[nodiscard]] float b_at(int64_t batch, int64_t i, int64_t column) const {
    return b[static_cast<size_t>(batch * p.b_step + (p.trans_b ? column : i) * along_b() +
                                 (p.trans_b ? i : column))];
  }
  [[nodiscard]] size_t y_at(int64_t batch, int64_t row, int64_t column) const {
    return static_cast<size_t>(batch * p.y_step + row * along_y() + column);
  }

  void multiply() {
    y.assign(size_of_y(), kUntouched);
    before.assign(static_cast<size_t>(p.m * p.n), 0);
    for (int64_t batch = 0; batch < p.batch; ++batch) {
      for (int64_t row = 0; row < p.m; ++row) {
        for (int64_t column = 0; column < p.n; ++column) {
          double sum = p.bias ? bias[static_cast<size_t>(column)] : 0.0;
          for (int64_t i = 0; i < p.k; ++i)
            sum += static_cast<double>(a_at(batch, row, i)) * b_at(batch, i, column);
          const auto at = static_cast<size_t>(row * p.n + column);
          before[at] = sum;
          y[y_at(batch, row, column)] = finish(sum, saved[at]);
        }
      }
    }
  }

 private:
  [[nodiscard]] double finish(double sum, double x) const {
    constexpr double kStep = 1e-5;
    switch (p.epilogue) {
      case ProductEpilogue::kRelu:
        return std::max(sum, 0.0);
      case ProductEpilogue::kGelu:
      case ProductEpilogue::kGeluSaving:
        return gelu(sum);
      case ProductEpilogue::kGeluGradient:
        return sum * (gelu(x + kStep) - gelu(x - kStep)) / (2 * kStep);
      case ProductEpilogue::kReluGradient:
        return x > 0 ? sum : 0.0;
      case ProductEpilogue::kNone:
        break;
    }
    return sum;
  }
};

template <typename T>
double distance_to(const std::vector<float>& got, size_t from, const std::vector<T>& want) {
  double difference = 0;
  double norm = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    const double far = static_cast<double>(got[from + i]) - static_cast<double>(want[i]);
    difference += far * far;
    norm += static_cast<double>(want[i]) * static_cast<double>(want[i]);
  }
  return std::sqrt(difference / norm);
}

bool untouched(const std::vector<float>& all) {
  const auto is = [](float x) { return x == kUntouched; };
  return std::all_of(all.begin(), all.begin() + kAround, is) &&
         std::all_of(all.end() - kAround, all.end(), is);
}

/// y and what is saved, with what lies around them.
struct Results {
  std::vector<float> y, saved;
};

/// `shift`: floats by which factors begin beyond 16 bytes.
Results multiply(const Factors& f, FloatWay way, int64_t shift = 0) {
  const auto framed = [](const std::vector<float>& middle) {
    std::vector<float> all(kAround, kUntouched);
    all.insert(all.end(), middle.begin(), middle.end());
    all.resize(all.size() + kAround, kUntouched);
    return all;
  };
  const auto shifted = [&](std::vector<float> x) {
    x.insert(x.begin(), static_cast<size_t>(shift), NAN);
    return x;
  };
  const Floats a(shifted(f.a));
  const Floats b(shifted(f.b));
  const Floats bias(f.bias);
  const Floats y(framed(std::vector<float>(f.size_of_y(), kUntouched)));
  const Floats saved(framed(f.saved));
  launch_float_product(f.p,
                       {a.data() + shift, b.data() + shift, y.data() + kAround, bias.data(),
                        saved.data() + kAround, nullptr},
                       way, nullptr);
  cuda::check(cudaDeviceSynchronize(), "a product of floats");
  return {y.read(), saved.read()};
}

/// A device without the kernel has no ways, and then there is nothing to compare.
void compare_ways(const Product& product, int64_t shift = 0, float low = -1) {
  constexpr double kMost = 1e-6;
  Factors f(product, low);
  f.multiply();
  for (const FloatWay way : float_ways(product, float_device(0))) {
    const Results got = multiply(f, way, shift);
    const double far = distance_to(got.y, kAround, f.y);
    const double saved_far = product.epilogue == ProductEpilogue::kGeluSaving
                                 ? distance_to(got.saved, kAround, f.before)
                                 : distance_to(got.saved, kAround, f.saved);
    const bool good =
        far <= kMost && saved_far <= kMost && untouched(got.y) && untouched(got.saved);
    if (!good) {
      std::printf("  [%d, %d] of %d, transposed %d %d, tiles of %d, %d splits: %g, saved %g\n",
                  static_cast<int>(product.m), static_cast<int>(product.n),
                  static_cast<int>(product.k), product.trans_a ? 1 : 0, product.trans_b ? 1 : 0,
                  static_cast<int>(tile_side(way.tile)), way.splits, far, saved_far);
    }
    CHECK(good);
    // the same bits in every run
    const Results again = multiply(f, way, shift);
    CHECK(std::memcmp(again.y.data(), got.y.data(), got.y.size() * sizeof(float)) == 0);
  }
}

Product product(int64_t m, int64_t n, int64_t k, int transposed) {
  Product p;
  p.m = m;
  p.n = n;
  p.k = k;
  p.trans_a = transposed % 2 != 0;
  p.trans_b = transposed / 2 != 0;
  return p;
}

constexpr int kTransposes = 4;

}  // namespace

TEST(gpu_every_way_multiplies_floats) {
  for (int t = 0; t < kTransposes; ++t) {
    for (const auto& [m, n, k] : {std::array<int64_t, 3>{1, 1, 1},
                                  {32, 32, 32},
                                  {37, 45, 67},
                                  {64, 68, 260},
                                  {128, 10, 256},
                                  {130, 260, 515}})
      compare_ways(product(m, n, k, t));
    compare_ways(product(128, 512, 784, t));
    // sums in which nothing cancels, and factors that begin anywhere
    compare_ways(product(64, 64, 3000, t), 0, 0.0F);
    compare_ways(product(36, 40, 96, t), 1);
  }
}

TEST(gpu_every_way_finishes_floats) {
  using E = ProductEpilogue;
  for (int t = 0; t < kTransposes; ++t) {
    for (const int64_t n : {44, 43}) {
      for (const E epilogue : {E::kNone, E::kRelu, E::kGelu, E::kGeluSaving}) {
        Product p = product(37, n, 100, t);
        p.bias = true;
        p.epilogue = epilogue;
        compare_ways(p);
        p.bias = false;
        compare_ways(p);
      }
      Product p = product(37, n, 100, t);
      for (const E epilogue : {E::kGeluGradient, E::kReluGradient}) {
        p.epilogue = epilogue;
        compare_ways(p);
      }
    }
  }
}

TEST(gpu_every_way_multiplies_floats_anywhere_in_memory) {
  for (int t = 0; t < kTransposes; ++t) {
    for (const int64_t pad : {3, 4}) {
      Product p = product(30, 70, 90, t);
      p.a_row = (p.trans_a ? p.m : p.k) + pad;
      p.b_row = (p.trans_b ? p.k : p.n) + pad;
      p.y_row = p.n + pad;
      compare_ways(p);
      p.batch = 3;
      p.a_step = (p.trans_a ? p.k : p.m) * p.a_row;
      p.b_step = (p.trans_b ? p.n : p.k) * p.b_row;
      p.y_step = p.m * p.y_row;
      compare_ways(p);
      p.b_step = 0;  // one matrix for all
      compare_ways(p);
    }
  }
}

TEST(gpu_every_way_keeps_infinities_and_large_floats) {
  for (int t = 0; t < kTransposes; ++t) {
    Factors f(product(40, 36, 130, t), -1);
    const auto place = [&](std::vector<float>& x, size_t i, float value) {
      x[i % x.size()] = value;
    };
    place(f.a, 7, INFINITY);
    place(f.a, 1500, -INFINITY);
    place(f.a, 4000, NAN);
    place(f.b, 900, 3.4e38F);  // to be rounded to 10 bits of mantissa, it would be infinite
    place(f.b, 3333, INFINITY);
    for (const FloatWay way : float_ways(f.p, float_device(0))) {
      const std::vector<float> got = multiply(f, way).y;
      for (int64_t row = 0; row < f.p.m; ++row) {
        for (int64_t column = 0; column < f.p.n; ++column) {
          float want = 0;
          for (int64_t i = 0; i < f.p.k; ++i)
            want = std::fma(f.a_at(0, row, i), f.b_at(0, i, column), want);
          const float found = got[kAround + f.y_at(0, row, column)];
          const bool same = std::isfinite(want) ? std::isfinite(found)
                            : std::isnan(want)  ? std::isnan(found)
                                                : found == want;
          CHECK(same);
        }
      }
    }
  }
}
