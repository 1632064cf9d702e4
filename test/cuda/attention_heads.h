// Attention and its gradients in double precision on the host, of numbers that bfloat16 and float16
// hold.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "core/shape.h"

namespace tandem::check {

/// `joined`: the heads of a row lie side by side, queries, keys and values behind each other where
/// there are as many of each.
struct HeadSizes {
  int64_t batch, heads, time, keys, depth;
  bool causal = false, joined = false;
  float largest = 2.0F;     ///< of queries and keys
  float largest_dy = 1.0F;  ///< of the gradient of y
  bool one_sided = false;   ///< queries below zero, all else above: scores are below, sums large
};

inline std::string text(const HeadSizes& s) {
  return to_string(Shape{s.batch, s.heads, s.time, s.keys, s.depth}) + (s.causal ? " causal" : "") +
         (s.joined ? " joined" : "") + (s.one_sided ? " one-sided" : "");
}

/// All are [batch, heads, rows, depth]: queries, keys, values and the gradient of y, whole numbers
/// of 8 bits times a power of two; what attention makes of them; and the gradients. `log_sums` has
/// two numbers of each query, the largest score and the logarithm of the sum.
struct HostHeads {
  HeadSizes s;
  std::vector<float> q, k, v, dy;
  std::vector<double> y, log_sums, dq, dk, dv;

  explicit HostHeads(const HeadSizes& sizes) : s(sizes) {
    std::mt19937 engine(17);
    const auto make = [&](int64_t rows, float largest) {
      const float unit = largest / 128;
      std::vector<float> all(static_cast<size_t>(s.batch * s.heads * rows * s.depth));
      for (float& x : all) {
        x = static_cast<float>(static_cast<int8_t>(engine() >> 24)) * unit;
        if (s.one_sided) x = std::copysign(x, unit);
      }
      return all;
    };
    q = make(s.time, s.one_sided ? -s.largest : s.largest);
    k = make(s.keys, s.largest);
    v = make(s.keys, 1.0F);
    dy = make(s.time, s.largest_dy);
    y.resize(q.size());
    dq.resize(q.size());
    dk.resize(k.size());
    dv.resize(k.size());
    for (int64_t row = 0; row < s.batch * s.heads * s.time; ++row) {
      const std::vector<double> shares = attend(row);
      differentiate(row, shares);
    }
  }

  /// [batch, heads, rows, depth] as [batch, rows, width], a head's numbers from `at` on in a row.
  template <typename From>
  void join(const std::vector<From>& from, int64_t rows, std::vector<float>& to, int64_t width,
            int64_t at) const {
    for (int64_t i = 0; i < static_cast<int64_t>(from.size()); ++i) {
      const int64_t row = i / s.depth % rows;
      const int64_t head = i / s.depth / rows % s.heads;
      const int64_t batch = i / s.depth / rows / s.heads;
      to[static_cast<size_t>((batch * rows + row) * width + at + head * s.depth + i % s.depth)] =
          static_cast<float>(from[static_cast<size_t>(i)]);
    }
  }

 private:
  /// What each key that a query sees contributes.
  std::vector<double> attend(int64_t row) {
    const int64_t seen = s.causal ? std::min(row % s.time + 1, s.keys) : s.keys;
    std::vector<double> shares;
    double largest = -INFINITY;
    for (int64_t j = 0; j < seen; ++j) {
      shares.push_back(product(q, row, k, first_key(row) + j) * scale());
      largest = std::max(largest, shares.back());
    }
    double total = 0;
    for (double& share : shares) total += share = std::exp(share - largest);
    log_sums.push_back(largest);
    log_sums.push_back(std::log(total));
    for (int64_t j = 0; j < seen; ++j) {
      double& share = shares[static_cast<size_t>(j)];
      share /= total;
      add(y, row, share, v, first_key(row) + j);
    }
    return shares;
  }
  void differentiate(int64_t row, const std::vector<double>& shares) {
    const double sum = product(dy, row, y, row);
    int64_t key = first_key(row);
    for (const double share : shares) {
      const double graded = share * (product(dy, row, v, key) - sum) * scale();
      add(dv, key, share, dy, row);
      add(dq, row, graded, k, key);
      add(dk, key, graded, q, row);
      ++key;
    }
  }

  [[nodiscard]] double scale() const { return 1 / std::sqrt(static_cast<double>(s.depth)); }
  [[nodiscard]] int64_t first_key(int64_t row) const { return row / s.time * s.keys; }
  template <typename B>
  [[nodiscard]] double product(const std::vector<float>& a, int64_t row, const std::vector<B>& b,
                               int64_t other) const {
    const float* const left = a.data() + row * s.depth;
    const B* const right = b.data() + other * s.depth;
    double sum = 0;
    for (int64_t i = 0; i < s.depth; ++i) sum += double{left[i]} * right[i];
    return sum;
  }
  void add(std::vector<double>& to, int64_t row, double factor, const std::vector<float>& from,
           int64_t other) const {
    double* const sums = to.data() + row * s.depth;
    const float* const numbers = from.data() + other * s.depth;
    for (int64_t i = 0; i < s.depth; ++i) sums[i] += factor * numbers[i];
  }
};

}  // namespace tandem::check
