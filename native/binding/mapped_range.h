// Pages of a file in the address space that outlive the file. The system ends a process that reads
// a mapped page which its file no longer has (SIGBUS); here such a read finds zeros, and the range
// knows that it is lost.
#pragma once

#ifndef _WIN32

#include <cstddef>

namespace tandem::binding {

class MappedRange {
 public:
  /// The first `size` bytes of the file, for reading. Throws ERR_OUT_OF_MEMORY.
  MappedRange(int descriptor, size_t size);
  MappedRange(const MappedRange&) = delete;
  MappedRange& operator=(const MappedRange&) = delete;
  ~MappedRange();

  [[nodiscard]] std::byte* data() const noexcept { return data_; }
  /// Whether a read before this call may have found zeros in the place of the file.
  [[nodiscard]] bool lost() const noexcept;

 private:
  struct Slot;
  struct Registry;

  std::byte* data_ = nullptr;
  size_t size_;
  Slot* slot_;
};

}  // namespace tandem::binding

#endif
