#include "binding/mapped_file.h"

#include <cerrno>
#include <cstring>
#include <memory>

#include "binding/mapped_range.h"
#include "core/backend.h"

#ifndef _WIN32
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

namespace tandem::binding {

#ifdef _WIN32

MappedFile::MappedFile(int /*descriptor*/) : descriptor_(-1) {
  fail(ErrorCode::kArgument, "expected a system that maps files");
}
MappedFile::~MappedFile() = default;
HostParameters MappedFile::map(const std::vector<int64_t>& /*positions*/,
                               const std::vector<ParameterDescription>& /*parameters*/) const {
  return {};
}

#else

namespace {

#ifdef __APPLE__
int64_t nanoseconds(const timespec& time) { return time.tv_sec * 1000000000LL + time.tv_nsec; }
int64_t modified(const struct stat& info) { return nanoseconds(info.st_mtimespec); }
int64_t changed(const struct stat& info) { return nanoseconds(info.st_ctimespec); }
#else
int64_t nanoseconds(const timespec& time) { return time.tv_sec * 1000000000LL + time.tv_nsec; }
int64_t modified(const struct stat& info) { return nanoseconds(info.st_mtim); }
int64_t changed(const struct stat& info) { return nanoseconds(info.st_ctim); }
#endif

[[noreturn]] void no_descriptor() {
  fail(ErrorCode::kOutOfMemory, "expected a descriptor for a file, the system has none left");
}

/// The pages, and a descriptor to ask whether they are still those of the file.
class MappedMemory final : public HostFile {
 public:
  /// Of a file of this size, last written to at this time, in nanoseconds.
  MappedMemory(int descriptor, int64_t size, int64_t modified)
      : range_(descriptor, static_cast<size_t>(size)),
        descriptor_(dup(descriptor)),
        size_(size),
        modified_(modified) {
    if (descriptor_ < 0) no_descriptor();
  }
  MappedMemory(const MappedMemory&) = delete;
  MappedMemory& operator=(const MappedMemory&) = delete;
  ~MappedMemory() override { close(descriptor_); }

  [[nodiscard]] std::byte* data() const noexcept { return range_.data(); }

  /// Whole pages within the range go back to the system's cache.
  void forget(const std::byte* data, int64_t bytes) const noexcept override {
    static const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    auto room = static_cast<size_t>(bytes);
    // madvise takes addresses without const; nothing is written
    void* begin = const_cast<std::byte*>(data);
    if (std::align(page, page, begin, room) != nullptr)
      (void)madvise(begin, room / page * page, MADV_DONTNEED);
  }

  // Not every loss raises SIGBUS: behind the new end of a file its last page reads as zeros, and a
  // file that was cut short and written anew has all its pages.
  void check() const override {
    struct stat now{};
    if (!range_.lost() && fstat(descriptor_, &now) == 0 && now.st_size == size_ &&
        modified(now) == modified_) {
      return;
    }
    fail(ErrorCode::kFileFormat,
         "expected the model's file to stay as it was when it was loaded, received one that has "
         "been cut short or written to since; load it again");
  }

 private:
  MappedRange range_;
  int descriptor_;
  int64_t size_;
  int64_t modified_;
};

/// Kernels read floats at their alignment: what lies elsewhere is copied.
HostParameters copied(const HostParameters& mapped,
                      const std::vector<ParameterDescription>& parameters) {
  const ParameterLayout layout = make_layout(parameters);
  Memory memory = cpu_backend().allocate(layout.bytes);
  for (size_t i = 0; i < parameters.size(); ++i) {
    const int64_t bytes = byte_size(stored_tensor(parameters[i]));
    if (bytes > 0) {
      std::memcpy(memory.data.get() + layout.offsets[i],
                  mapped.memory.data.get() + mapped.layout.offsets[i], static_cast<size_t>(bytes));
    }
  }
  mapped.file->check();
  return {std::move(memory), layout, nullptr};
}

}  // namespace

MappedFile::MappedFile(int descriptor) : descriptor_(dup(descriptor)) {
  struct stat info{};
  if (descriptor_ < 0 && errno == EMFILE) no_descriptor();
  if (descriptor_ < 0 || fstat(descriptor_, &info) != 0 || !S_ISREG(info.st_mode)) {
    if (descriptor_ >= 0) close(descriptor_);
    fail(ErrorCode::kArgument,
         "expected an open file, received descriptor " + std::to_string(descriptor));
  }
  size_ = static_cast<int64_t>(info.st_size);
  modified_ = modified(info);
  for (const auto part : {static_cast<int64_t>(info.st_dev), static_cast<int64_t>(info.st_ino),
                          size_, modified_, changed(info)}) {
    identity_ += std::to_string(part) + ':';
  }
}

MappedFile::~MappedFile() {
  if (descriptor_ >= 0) close(descriptor_);
}

HostParameters MappedFile::map(const std::vector<int64_t>& positions,
                               const std::vector<ParameterDescription>& parameters) const {
  bool aligned = true;
  if (positions.size() != parameters.size())
    fail(ErrorCode::kArgument, "expected a position for each parameter");
  for (size_t i = 0; i < positions.size(); ++i) {
    const int64_t bytes = byte_size(stored_tensor(parameters[i]));
    if (positions[i] < 0 || bytes > size_ || positions[i] > size_ - bytes) {
      fail(ErrorCode::kFileFormat, "expected a whole file, received one that ends early");
    }
    aligned = aligned && (parameters[i].is_bytes || positions[i] % 4 == 0);
  }
  if (size_ == 0) return {};
  const auto memory = std::make_shared<const MappedMemory>(descriptor_, size_, modified_);
  HostParameters mapped;
  mapped.memory = {std::shared_ptr<std::byte>(memory, memory->data()), size_};
  mapped.layout.offsets = positions;
  mapped.layout.bytes = size_;
  mapped.file = memory;
  return aligned ? mapped : copied(mapped, parameters);
}

#endif

}  // namespace tandem::binding
