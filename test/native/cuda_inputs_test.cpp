// Inputs that are copied to a device while it computes: which block a run reads, and that no copy
// meets a run or another copy, on a device that does everything as late as it may.
#include <cstdint>
#include <optional>
#include <random>
#include <stdexcept>

#include "check.h"
#include "cuda/host/input_slots.h"
#include "cuda/host/pinned_ranges.h"

using namespace tandem;
using namespace tandem::cuda;

namespace {

/// A device of one number per input. Copies happen when somebody waits for them, runs when they are
/// waited for.
class LateDevice {
 public:
  void fill(int slot, const InputSlots::Inputs& from) {
    finish_copy(slot);
    CHECK(!runs_ || runs_->slot != slot);
    pinned_[slot] = *static_cast<const int*>(from[0]);
  }
  void send(int slot) {
    CHECK(!sending_[slot]);
    sending_[slot] = true;
    ++sends;
  }
  void await(int slot) {
    finish_copy(slot);
    awaited_[slot] = true;
  }
  void start(InputSlots::Use use) {
    CHECK(!use.staged || awaited_[use.slot]);
    CHECK(!sending_[use.slot]);
    awaited_[use.slot] = false;
    runs_ = use;
  }
  void finish() {
    if (!runs_->staged) memory_[runs_->slot] = pinned_[runs_->slot];
    seen = memory_[runs_->slot];
    runs_.reset();
  }
  void abandon() {
    runs_.reset();
    finish_copy(0);
    finish_copy(1);
    awaited_[0] = awaited_[1] = false;
    ++abandoned;
  }

  int seen = 0;
  int sends = 0;
  int abandoned = 0;

 private:
  void finish_copy(int slot) {
    if (!sending_[slot]) return;
    // not while a run reads the block
    CHECK(!runs_ || runs_->slot != slot);
    memory_[slot] = pinned_[slot];
    sending_[slot] = false;
  }

  int pinned_[2] = {};
  int memory_[2] = {};
  bool sending_[2] = {};
  bool awaited_[2] = {};
  std::optional<InputSlots::Use> runs_;
};

/// One whose nth call fails, before it does anything.
class FailingDevice {
 public:
  explicit FailingDevice(int fails_at) : left_(fails_at) {}
  void fill(int slot, const InputSlots::Inputs& from) {
    call([&] { late.fill(slot, from); });
  }
  void send(int slot) {
    call([&] { late.send(slot); });
  }
  void await(int slot) {
    call([&] { late.await(slot); });
  }
  void start(InputSlots::Use use) {
    call([&] { late.start(use); });
  }
  void finish() {
    call([&] { late.finish(); });
  }
  void abandon() { late.abandon(); }

  LateDevice late;

 private:
  template <typename F>
  void call(const F& f) {
    if (--left_ == 0) throw std::runtime_error("a failure");
    f();
  }

  int left_;
};

}  // namespace

TEST(cuda_inputs_that_were_announced_are_there) {
  LateDevice device;
  InputSlots slots;
  const int numbers[] = {3, 1, 4, 1, 5, 9, 2, 6};
  for (size_t i = 0; i < 8; ++i) {
    if (i < 7) slots.announce({&numbers[i + 1]});
    run_with(device, slots, {&numbers[i]});
    CHECK(device.seen == numbers[i]);
  }
  CHECK(device.sends == 7);
}

TEST(cuda_inputs_are_staged_for_the_run_that_was_announced_alone) {
  LateDevice device;
  InputSlots slots;
  int numbers[] = {10, 20, 30};
  slots.announce({&numbers[1]});
  run_with(device, slots, {&numbers[0]});
  run_with(device, slots, {&numbers[2]});  // another comes
  CHECK(device.seen == 30);
  numbers[1] = 21;
  run_with(device, slots, {&numbers[1]});
  CHECK(device.seen == 21);
  slots.announce({&numbers[1]});
  run_with(device, slots, {&numbers[0]});
  numbers[1] = 22;  // taken back before it changes
  slots.forget();
  run_with(device, slots, {&numbers[1]});
  CHECK(device.seen == 22 && device.sends == 2);
}

TEST(cuda_inputs_survive_any_order_of_announcements) {
  std::mt19937 engine(5);
  LateDevice device;
  InputSlots slots;
  int numbers[4] = {};
  size_t next = 0;
  bool promised = false;
  for (int i = 0; i < 20000; ++i) {
    const size_t now = promised ? next : engine() % 4;
    if (!promised) numbers[now] = i;
    const bool announces = engine() % 3 != 0;
    if (announces) {
      next = engine() % 4;
      if (next != now) numbers[next] = -i;
      slots.announce({&numbers[next]});
    }
    run_with(device, slots, {&numbers[now]});
    CHECK(device.seen == numbers[now]);
    promised = announces;
    if (promised && engine() % 5 == 0) {
      slots.forget();
      promised = false;
    }
  }
}

TEST(cuda_inputs_that_are_forgotten_are_where_they_were_sent) {
  LateDevice device;
  InputSlots slots;
  const int numbers[] = {3, 1};
  CHECK(slots.forget() == InputSlots::kNone);
  slots.announce({&numbers[1]});
  CHECK(slots.forget() == InputSlots::kNone);  // nothing was sent
  slots.announce({&numbers[1]});
  run_with(device, slots, {&numbers[0]});
  CHECK(slots.forget() == 1);
  CHECK(slots.forget() == InputSlots::kNone);
  run_with(device, slots, {&numbers[1]});
  CHECK(device.seen == 1);
}

TEST(cuda_inputs_of_a_run_that_fails_are_forgotten) {
  constexpr int kCalls = 2 * 5;  // of two runs, each with an announcement
  for (int fails_at = 1; fails_at <= kCalls; ++fails_at) {
    FailingDevice device(fails_at);
    InputSlots slots;
    int numbers[] = {3, 1, 4};
    const auto run = [&](int i) {
      slots.announce({&numbers[i + 1]});
      run_with(device, slots, {&numbers[i]});
    };
    int failed = -1;
    for (int i = 0; i < 2 && failed < 0; ++i) {
      try {
        run(i);
      } catch (const std::runtime_error&) {
        failed = i;
      }
    }
    CHECK(failed == (fails_at <= 5 ? 0 : 1) && device.late.abandoned == 1);
    // whoever announced it may have changed it since
    numbers[failed + 1] = 7;
    run_with(device, slots, {&numbers[failed + 1]});
    CHECK(device.late.seen == 7);
    CHECK(slots.forget() == InputSlots::kNone);  // and nothing else is on its way
  }
}

TEST(cuda_pinned_memory_is_known_by_its_ranges) {
  std::byte memory[64];
  PinnedRanges ranges;
  CHECK(!ranges.hold(memory, 1));
  ranges.add(memory + 8, 16);
  ranges.add(memory + 32, 8);
  CHECK(ranges.hold(memory + 8, 16) && ranges.hold(memory + 23, 1) && ranges.hold(memory + 32, 8));
  CHECK(!ranges.hold(memory + 7, 2) && !ranges.hold(memory + 8, 17) &&
        !ranges.hold(memory + 24, 1));
  CHECK(!ranges.hold(memory + 20, 20) && !ranges.hold(memory + 40, 1));
  ranges.remove(memory + 8);
  CHECK(!ranges.hold(memory + 8, 1) && ranges.hold(memory + 32, 8));
}
