// Memory that calls are copied to: which of them copy to where a device reads by itself.
#include "binding/staging.h"

#include <vector>

#include "check.h"
#include "cpu_device.h"

using namespace tandem;
using binding::CallStaging;
using binding::Staging;
using binding::StagingPool;

namespace {

constexpr size_t kLarge = size_t{1} << 20;

/// The CPU as a device that copies; counts the blocks that it reads by itself.
class CopyingDevice : public CpuDevice {
 public:
  explicit CopyingDevice(bool copies = true) : copies_(copies) {}
  [[nodiscard]] bool shares_host_memory() const override { return !copies_; }
  [[nodiscard]] std::shared_ptr<std::byte> allocate_staging(int64_t bytes) const override {
    ++made;
    last = cpu_backend().allocate(bytes).data;
    return last;
  }
  mutable int made = 0;
  mutable std::shared_ptr<std::byte> last;

 private:
  bool copies_;
};

/// What a call does: takes a block and gives it back when it goes.
class Call {
 public:
  Call(CallStaging& staging, size_t bytes) : pool_(staging.pool_of(bytes)), block_(pool_.take()) {
    block_.resize(bytes);
  }
  ~Call() { pool_.give(std::move(block_)); }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;
  [[nodiscard]] const std::byte* data() const { return block_.data(); }

 private:
  StagingPool& pool_;
  Staging block_;
};

}  // namespace

TEST(staging_of_large_calls_is_the_devices) {
  const CopyingDevice device;
  CallStaging staging(device);
  {
    const Call call(staging, kLarge);
    CHECK(device.made == 1 && call.data() == device.last.get());
  }
  // used again, and for less
  const Call call(staging, kLarge / 2);
  CHECK(device.made == 1 && call.data() == device.last.get());
}

TEST(staging_of_small_calls_and_of_the_host_is_not) {
  const CopyingDevice device;
  CallStaging staging(device);
  const Call small(staging, 1024);
  CHECK(device.made == 0 && small.data() != nullptr);
  const CopyingDevice host(false);
  CallStaging own(host);
  const Call large(own, kLarge);
  CHECK(host.made == 0 && large.data() != nullptr);
}

TEST(staging_of_many_calls_is_the_devices_for_few) {
  const CopyingDevice device;
  CallStaging staging(device);
  for (int wave = 0; wave < 3; ++wave) {
    std::vector<std::unique_ptr<Call>> calls(40);
    for (auto& call : calls) call = std::make_unique<Call>(staging, kLarge);
    // what was made for the first of them is there for the next ones
    CHECK(device.made == 2);
  }
}
