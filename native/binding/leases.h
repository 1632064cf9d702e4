// Memory of JavaScript that a pending call will write.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace tandem::binding {

struct ByteRange {
  const std::byte* begin;
  const std::byte* end;
  [[nodiscard]] bool overlaps(const ByteRange& other) const {
    return begin < other.end && other.begin < end;
  }
};

/// The ranges leased within one environment. Of the JavaScript thread.
class Leases {
 public:
  [[nodiscard]] bool empty() const { return ranges_.empty(); }
  [[nodiscard]] bool overlaps(const ByteRange& range) const {
    for (const ByteRange& leased : ranges_) {
      if (leased.overlaps(range)) return true;
    }
    return false;
  }
  void add(const ByteRange& range) { ranges_.push_back(range); }
  void remove(const ByteRange& range) noexcept {
    for (ByteRange& leased : ranges_) {
      if (leased.begin == range.begin && leased.end == range.end) {
        leased = ranges_.back();
        ranges_.pop_back();
        return;
      }
    }
  }

 private:
  std::vector<ByteRange> ranges_;
};

}  // namespace tandem::binding
