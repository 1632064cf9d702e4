// One run for several calls of a predictor that wait on the lane. A call of one row reads all of
// the weights for it; a few rows take little longer than one, where weights come from beyond the
// caches above all. Only models whose rows are the same bits in any company are run so: nobody can
// tell but by the time.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "binding/signature.h"
#include "binding/staging.h"
#include "core/predictor.h"

namespace tandem::binding {

/// Of the lane, which makes plans and memory when calls first wait there.
class JoinedRuns {
 public:
  JoinedRuns(Predictor& predictor, size_t which) : predictor_(predictor), which_(which) {}

  /// Of a run; 1: calls cannot be joined.
  [[nodiscard]] int64_t most_rows() noexcept;
  /// Calls are not joined from here on.
  void give_up() noexcept { most_rows_ = 1; }

  /// Forgets the calls of the last run.
  void begin() noexcept;
  /// Whether there was room for a call, whose arrays are in `block`.
  bool add(const Signature& signature, std::byte* block);
  /// Runs the calls, of which each takes so many milliseconds alone.
  void run(double expected_ms);

 private:
  struct Part {
    const Signature* signature;
    std::byte* block;
  };
  void place_arrays();
  /// Calls copy(place in block_, place in the block of a call, bytes) for arrays [first, end).
  template <typename Copy>
  void each_array(size_t first, size_t end, const Copy& copy) const;

  Predictor& predictor_;
  size_t which_;
  int64_t most_rows_ = 0;  ///< 0: not known yet
  std::unique_ptr<Predictor::Session> session_;
  std::vector<Part> parts_;
  int64_t rows_ = 0;  ///< of all parts
  Staging block_;
  std::vector<std::byte*> places_;  ///< in block_, of inputs and then outputs
  std::vector<const void*> inputs_;
  std::vector<void*> outputs_;
};

}  // namespace tandem::binding
