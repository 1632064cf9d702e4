// The gradient of every op by each of its inputs against central differences, on the instruction
// set that is chosen: of all ops that the table has with a gradient, those of tomorrow included.
#include <algorithm>
#include <cstring>
#include <map>
#include <random>
#include <set>

#include "check.h"
#include "core/evaluate.h"
#include "gradient_cases.h"

using namespace tandem;

namespace {

// With steps of 1/64 the third derivative contributes about 1e-4 of a slope, and the rounding of
// float32 results less.
constexpr float kStep = 1.0F / 64;
constexpr double kTolerance = 2e-3;
constexpr int kDirections = 6;

using Floats = std::vector<float>;

Floats uniform(size_t count, double low, double high, std::mt19937& engine) {
  std::uniform_real_distribution<double> draw(low, high);
  Floats values(count);
  for (float& x : values) x = static_cast<float>(draw(engine));
  return values;
}

/// The numbers of an operand; integers are in the bits of the floats.
Floats draw(const GradientOperand& operand, std::mt19937& engine) {
  size_t count = 1;
  for (const int64_t length : operand.shape) count *= static_cast<size_t>(length);
  Floats values = uniform(count, operand.low, operand.high, engine);
  if (operand.kind == GradientOperand::kDistinct) {
    const size_t middle = count / 2;
    for (size_t i = 0; i < count; ++i) {
      const double steps = static_cast<double>(i) - static_cast<double>(middle);
      values[i] = static_cast<float>(steps / 10 + operand.low);
    }
    std::shuffle(values.begin(), values.end(), engine);
  }
  for (float& x : values) {
    if (operand.kind == GradientOperand::kIntegers) {
      const auto number = static_cast<int32_t>(x);
      std::memcpy(&x, &number, sizeof x);
    }
    for (const double kink : operand.kinks) {
      if (std::fabs(static_cast<double>(x) - kink) < 0.05) x += 0.1F;
    }
  }
  return values;
}

bool is_float(const GradientOperand& operand) {
  return operand.kind == GradientOperand::kFloats || operand.kind == GradientOperand::kDistinct;
}

/// A case as a graph with numbers for its inputs. Absent operands are none of its inputs.
class Differentiated {
 public:
  Differentiated(const GradientCase& one, uint32_t seed) : engine_(seed) {
    NodeDescription node{one.op, {}, one.attributes};
    for (const GradientOperand& operand : one.inputs) {
      input_of_.push_back(-1);
      if (operand.kind != GradientOperand::kAbsent) {
        const bool floats = is_float(operand);
        input_of_.back() = static_cast<int64_t>(feeds_.size());
        description_.inputs.push_back({std::to_string(feeds_.size()), operand.shape,
                                       floats ? DType::kFloat32 : DType::kInt32});
        feeds_.push_back(draw(operand, engine_));
      }
      node.inputs.push_back(input_of_.back());
    }
    description_.nodes = {node};
    description_.outputs = {static_cast<int64_t>(feeds_.size())};
    cotangent_ = uniform(forward(feeds_).size(), 0.5, 1.5, engine_);
    for (size_t i = 1; i < cotangent_.size(); i += 3) cotangent_[i] = -cotangent_[i];
  }

  struct Slopes {
    double gradient = 0;    ///< of the gradient, by norm over all directions
    double difference = 0;  ///< the same of differences
    double error = 0;       ///< of gradient - difference
  };

  Slopes along(size_t operand) {
    const auto input = static_cast<size_t>(input_of_[operand]);
    const Floats gradient = gradient_of(input);
    Slopes slopes;
    for (int i = 0; i < kDirections; ++i) {
      const Floats v = uniform(gradient.size(), -1, 1, engine_);
      std::vector<Floats> high = feeds_;
      std::vector<Floats> low = feeds_;
      double slope = 0;
      for (size_t j = 0; j < v.size(); ++j) {
        high[input][j] += kStep * v[j];
        low[input][j] -= kStep * v[j];
        // the distance after rounding to float32
        slope += static_cast<double>(gradient[j]) *
                 (static_cast<double>(high[input][j]) - static_cast<double>(low[input][j]));
      }
      const double difference = weigh(high) - weigh(low);
      slopes.gradient += slope * slope;
      slopes.difference += difference * difference;
      slopes.error += (slope - difference) * (slope - difference);
    }
    return slopes;
  }

 private:
  static std::vector<const void*> pointers(const std::vector<Floats>& feeds) {
    std::vector<const void*> all;
    all.reserve(feeds.size());
    for (const Floats& feed : feeds) all.push_back(feed.data());
    return all;
  }

  static Floats floats_of(const Memory& memory) {
    Floats values(static_cast<size_t>(memory.bytes) / sizeof(float));
    std::memcpy(values.data(), memory.data.get(), values.size() * sizeof(float));
    return values;
  }

  [[nodiscard]] Floats forward(const std::vector<Floats>& feeds) const {
    const Evaluation result = evaluate(description_, 1, pointers(feeds), options_, cpu_backend());
    return floats_of(result.outputs[0]);
  }

  [[nodiscard]] Floats gradient_of(size_t input) const {
    const Evaluation result = vjp(description_, 1, pointers(feeds_), {cotangent_.data()},
                                  {static_cast<int64_t>(input)}, options_, cpu_backend());
    return floats_of(result.outputs[1]);
  }

  /// The sum of outputs times cotangents.
  [[nodiscard]] double weigh(const std::vector<Floats>& feeds) const {
    const Floats result = forward(feeds);
    double sum = 0;
    for (size_t i = 0; i < result.size(); ++i)
      sum += static_cast<double>(result[i]) * static_cast<double>(cotangent_[i]);
    return sum;
  }

  std::mt19937 engine_;
  GraphDescription description_;
  EvaluateOptions options_{true, 3, 1};
  std::vector<int64_t> input_of_;
  std::vector<Floats> feeds_;
  Floats cotangent_;
};

/// Whether each of an op's inputs has been in a case: what is no float has no gradient.
using Covered = std::map<std::string, std::set<size_t>>;

void check_case(const GradientCase& one, uint32_t seed, Covered& covered) {
  Differentiated graph(one, seed);
  for (size_t i = 0; i < one.inputs.size(); ++i) {
    const GradientOperand& operand = one.inputs[i];
    if (operand.kind == GradientOperand::kAbsent) continue;
    covered[one.op].insert(i);
    if (!is_float(operand)) continue;
    const Differentiated::Slopes slopes = graph.along(i);
    const bool good = operand.constant
                          ? slopes.gradient == 0
                          : slopes.error <= kTolerance * kTolerance * slopes.difference;
    if (good) continue;
    check::fail(__FILE__, __LINE__,
                one.op + ", input " + std::to_string(i) + " of " +
                    to_string(make_tensor(operand.shape, DType::kFloat32)) + ": slopes of " +
                    std::to_string(std::sqrt(slopes.gradient)) + ", differences of " +
                    std::to_string(std::sqrt(slopes.difference)) + ", error " +
                    std::to_string(std::sqrt(slopes.error)));
  }
}

}  // namespace

TEST(gradients_of_every_op_and_input_agree_with_differences) {
  Covered covered;
  uint32_t seed = 1;
  for (const GradientCase& one : gradient_cases()) check_case(one, seed++, covered);
  for (int i = 0; i < kOpCount; ++i) {
    const OpInfo& op = info(static_cast<Op>(i));
    // internal ops are made by passes behind the gradients; descriptions cannot have them
    if (op.grad == nullptr || (op.flags & kInternal) != 0) continue;
    constexpr int kSome = 6;  // of those that take any number
    for (int input = 0; input < std::min(op.max_inputs, kSome); ++input) {
      const bool never = static_cast<Op>(i) == Op::rmsNorm && input == 2;  // a bias of others
      const bool alike = static_cast<Op>(i) == Op::concat && input > 2;
      if (never || alike || covered[op.name].count(static_cast<size_t>(input)) == 1) continue;
      check::fail(__FILE__, __LINE__,
                  std::string("no case of ") + op.name + " has input " + std::to_string(input));
    }
  }
}
