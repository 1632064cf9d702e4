// Memory of JavaScript that a pending call will write.
#pragma once

#include <cstddef>
#include <iterator>
#include <map>

namespace tandem::binding {

struct ByteRange {
  const std::byte* begin;
  const std::byte* end;
  [[nodiscard]] bool overlaps(const ByteRange& other) const {
    return begin < other.end && other.begin < end;
  }
};

/// The ranges leased within one environment, no two of which overlap. Of the JavaScript thread.
class Leases {
 public:
  [[nodiscard]] bool empty() const { return ends_.empty(); }
  [[nodiscard]] bool overlaps(const ByteRange& range) const {
    if (range.begin == range.end) return false;
    // Of those that begin before its end only the last can reach into it.
    const auto next = ends_.lower_bound(range.end);
    return next != ends_.begin() && range.begin < std::prev(next)->second;
  }
  /// Needs a range that overlaps none.
  void add(const ByteRange& range) {
    if (range.begin != range.end) ends_.emplace(range.begin, range.end);
  }
  void remove(const ByteRange& range) noexcept {
    if (range.begin != range.end) ends_.erase(range.begin);
  }

 private:
  std::map<const std::byte*, const std::byte*> ends_;
};

}  // namespace tandem::binding
