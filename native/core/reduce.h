// Gradients of several trainers that work on parts of one batch.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/plan.h"

namespace tandem {

/// Gradients that lie one after the other, in floats of their arena.
struct Bucket {
  int64_t first, count;
};

/// The arena of trainable parameters cut into buckets of at most `bytes`, but for parameters that
/// are larger, each of whole parameters: last ones first, as their gradients are there first. The
/// same for all trainers of a model.
std::vector<Bucket> make_buckets(const ParameterLayout& layout, int64_t bytes);

/// 25 MB, as PyTorch's DistributedDataParallel: enough to pay for a message, few enough to begin
/// before all gradients are there.
inline constexpr int64_t kBucketBytes = int64_t{25} << 20;

/// Makes the gradients of all ranks their mean. The one place where trainers meet: they call it for
/// the same buckets in the same order, on their training threads.
class GradientReducer {
 public:
  GradientReducer() = default;
  GradientReducer(const GradientReducer&) = delete;
  GradientReducer& operator=(const GradientReducer&) = delete;
  virtual ~GradientReducer() = default;
  /// How many trainers take part; with one nothing is reduced.
  [[nodiscard]] virtual int ranks() const = 0;
  /// `gradients` is memory of the trainer's device: `count` floats, which become the mean over all
  /// ranks. Must give every rank the same bits. Throws when the others cannot be reached.
  virtual void reduce(float* gradients, int64_t count) = 0;
};

/// One rank: gradients stay as they are.
std::shared_ptr<GradientReducer> local_reducer();

}  // namespace tandem
