// Normalisations in double precision, as their formulas are written.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "node_runner.h"

namespace tandem::cpu {

using Doubles = std::vector<double>;

/// Elements that are normalised together, by position, and the weight that each is given.
struct NormGroups {
  std::vector<std::vector<size_t>> members;
  std::vector<size_t> weight_of;  ///< by element
  size_t weights = 0;
};

/// Rows of `length`, each element with a weight of its own.
inline NormGroups row_groups(int64_t rows, int64_t length) {
  NormGroups g;
  g.weights = static_cast<size_t>(length);
  for (int64_t i = 0; i < rows * length; ++i) {
    if (i % length == 0) g.members.emplace_back();
    g.members.back().push_back(static_cast<size_t>(i));
    g.weight_of.push_back(static_cast<size_t>(i % length));
  }
  return g;
}

/// [n, c, l]: `groups` groups of the channels of each sample, or, for batches, one for each
/// channel.
inline NormGroups channel_groups(int64_t n, int64_t c, int64_t l, int64_t groups, bool batch) {
  NormGroups g;
  g.weights = static_cast<size_t>(c);
  g.members.resize(static_cast<size_t>(batch ? c : n * groups));
  for (int64_t i = 0; i < n * c * l; ++i) {
    const int64_t channel = i / l % c;
    const int64_t group = batch ? channel : i / (c * l) * groups + channel / (c / groups);
    g.members[static_cast<size_t>(group)].push_back(static_cast<size_t>(i));
    g.weight_of.push_back(static_cast<size_t>(channel));
  }
  return g;
}

struct NormReference {
  Doubles y, mean, variance, inverse;  ///< the last three by group
  Doubles dx, dw, db;
};

/// `centered`: less the mean, by the deviation; otherwise by the root mean square. w and b may be
/// empty.
inline NormReference reference_norm(const NormGroups& g, const std::vector<float>& x,
                                    const std::vector<float>& w, const std::vector<float>& b,
                                    const std::vector<float>& dy, double epsilon, bool centered) {
  NormReference r;
  r.y.resize(x.size());
  r.dx.resize(x.size());
  r.dw.assign(g.weights, 0);
  r.db.assign(g.weights, 0);
  const auto number = [](const std::vector<float>& from, size_t i, double otherwise) {
    return from.empty() ? otherwise : static_cast<double>(from[i]);
  };
  for (const std::vector<size_t>& members : g.members) {
    const auto count = static_cast<double>(members.size());
    double mean = 0;
    for (const size_t i : members) mean += centered ? static_cast<double>(x[i]) / count : 0;
    double variance = 0;
    for (const size_t i : members)
      variance += std::pow(static_cast<double>(x[i]) - mean, 2) / count;
    const double inverse = 1 / std::sqrt(variance + epsilon);
    r.mean.push_back(mean);
    r.variance.push_back(variance);
    r.inverse.push_back(inverse);
    double sum = 0;
    double product = 0;
    for (const size_t i : members) {
      const size_t k = g.weight_of[i];
      const double normal = (static_cast<double>(x[i]) - mean) * inverse;
      const double d = number(dy, i, 0);
      r.y[i] = normal * number(w, k, 1) + number(b, k, 0);
      r.dw[k] += d * normal;
      r.db[k] += d;
      sum += d * number(w, k, 1);
      product += d * number(w, k, 1) * normal;
    }
    for (const size_t i : members) {
      const double normal = (static_cast<double>(x[i]) - mean) * inverse;
      const double own = number(dy, i, 0) * number(w, g.weight_of[i], 1);
      r.dx[i] = inverse * (own - (centered ? sum / count : 0) - normal * product / count);
    }
  }
  return r;
}

inline std::vector<float> rounded(const Doubles& values) { return {values.begin(), values.end()}; }

}  // namespace tandem::cpu
