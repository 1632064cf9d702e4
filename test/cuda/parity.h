// Compares a GPU with the CPU: the same graph, the same feeds, outputs and gradients by their
// norms.
#pragma once

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "check.h"
#include "core/evaluate.h"

namespace tandem::check {

/// The backend under test, and what differences it is allowed.
const Backend& gpu();
inline constexpr double kTolerance = 1e-5;

/// A feed of floats in [low, high), or of whole numbers there where the input is int32.
struct Feed {
  Shape shape;
  double low = -1, high = 1;
  DType dtype = DType::kFloat32;
};

/// One op, or several, of feeds: nodes number the feeds first, then their results.
struct Case {
  std::string name;
  std::vector<Feed> feeds;
  std::vector<NodeDescription> nodes;
  bool gradients = true;
  double tolerance = kTolerance;
  Precision precision = Precision::kFloat32;
};

/// Runs the case on both devices and checks outputs and, by cotangents of random numbers, the
/// gradients of all float feeds. NaN must be where NaN is.
void compare(const Case& c);

/// |a - b| / |b|, with NaN and infinities compared for equality.
double distance(const float* a, const float* b, int64_t n);

}  // namespace tandem::check
