// Inputs of the next run on their way while this one computes. Each plan that is told of them has
// two blocks for inputs, on the device and in pinned memory: a run reads one, and what has been
// announced for the next goes into the other on a stream of its own. Knows no CUDA.
#pragma once

#include <utility>
#include <vector>

namespace tandem::cuda {

/// Which block a run reads, and what is in it by then.
class InputSlots {
 public:
  using Inputs = std::vector<const void*>;  ///< memory of the caller, by input
  struct Use {
    int slot;
    bool staged;  ///< the inputs are there, or on their way
  };

  /// What the run behind the next one is going to be bound to; it stays as it is until then.
  void announce(const Inputs& inputs) { announced_ = inputs; }
  /// Nothing of what has been announced will come. Returns the slot that it may be on its way to,
  /// or kNone.
  int forget() {
    announced_.clear();
    return std::exchange(staged_slot_, kNone);
  }
  /// Where a run with these inputs finds them.
  Use begin(const Inputs& bound) {
    const bool staged = staged_slot_ != kNone && staged_ == bound;
    running_ = staged ? staged_slot_ : 0;
    staged_slot_ = kNone;
    return {running_, staged};
  }
  /// Behind begin(): the slot for what has been announced, or kNone.
  int stage() {
    if (announced_.empty()) return kNone;
    staged_ = std::exchange(announced_, {});
    return staged_slot_ = 1 - running_;
  }
  /// What stage() meant.
  [[nodiscard]] const Inputs& staged() const { return staged_; }

  static constexpr int kNone = -1;

 private:
  Inputs announced_;
  Inputs staged_;
  int staged_slot_ = kNone;
  int running_ = 0;
};

/// One run. `device` has
///   fill(slot, inputs)  waits until nothing copies from the slot's pinned block, and fills it
///   send(slot)          starts to copy it to the device, on the stream of copies
///   await(slot)         has the run's stream wait for that
///   start(use)          starts the run, which copies the pinned block itself unless it is staged
///   finish()            waits for the run
///   abandon()           waits, after a failure, until no run and no copy is under way
/// Where one of them throws, nothing is under way any more, and what was announced is forgotten.
template <typename Device>
void run_with(Device& device, InputSlots& slots, const InputSlots::Inputs& bound) {
  try {
    const InputSlots::Use use = slots.begin(bound);
    if (use.staged) {
      device.await(use.slot);
    } else {
      device.fill(use.slot, bound);
    }
    device.start(use);
    const int next = slots.stage();
    if (next != InputSlots::kNone) {
      device.fill(next, slots.staged());
      device.send(next);
    }
    device.finish();
  } catch (...) {
    slots.forget();
    device.abandon();
    throw;
  }
}

}  // namespace tandem::cuda
