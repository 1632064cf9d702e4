#include "core/backend.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include "cpu/alike_rows.h"
#include "cpu/executable.h"
#include "cpu/gemm.h"
#include "cpu/held_memory.h"
#include "cpu/isa_select.h"

#ifdef __linux__
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace tandem {
namespace {

[[noreturn]] void out_of_memory(int64_t bytes) {
  fail(ErrorCode::kOutOfMemory,
       "expected " + std::to_string(bytes) + " bytes of memory, the system has none left");
}

#ifdef __linux__

// Blocks of at least so many bytes go back to the system when they are freed. The C library would
// keep them for the thread that took them, for each of many threads, and would rarely find one of
// the size that is wanted next.
constexpr int64_t kLargeBlock = int64_t{64} << 10;

constexpr int64_t kHugePage = int64_t{2} << 20;

int64_t rounded_up(int64_t bytes, int64_t unit) {
  return checked_add(bytes, unit - 1) / unit * unit;
}

/// Bytes of a block that lie in huge pages: those that it fills, and the last one, too, where
/// little of that is wasted. What is left over is in small pages, so that a block takes what it
/// says.
int64_t in_huge_pages(int64_t bytes) {
  const int64_t whole = bytes / kHugePage * kHugePage;
  const int64_t more = rounded_up(bytes, kHugePage);
  return more - bytes <= bytes / 32 ? more : whole;
}

/// Memory of the system's own. Its pages are made when they are first touched, and so on the
/// threads that use them, not on the one that allocates. Large arenas are swept end to end: they
/// begin at a huge page, for fewer TLB misses.
std::shared_ptr<std::byte> map_pages(int64_t bytes) {
  static const int64_t page = sysconf(_SC_PAGESIZE);
  const int64_t huge = in_huge_pages(bytes);
  const int64_t used = std::max(huge, rounded_up(bytes, page));
  const auto size = static_cast<size_t>(huge > 0 ? checked_add(used, kHugePage) : used);
  void* const mapped =
      mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) out_of_memory(bytes);
  void* data = mapped;
  size_t room = size;
  if (huge > 0) {
    (void)std::align(kHugePage, static_cast<size_t>(used), data, room);
    (void)madvise(data, static_cast<size_t>(huge), MADV_HUGEPAGE);
    // what the alignment leaves over is given back at both ends
    const size_t behind = room - static_cast<size_t>(used);
    if (room < size) (void)munmap(mapped, size - room);
    if (behind > 0) (void)munmap(static_cast<std::byte*>(data) + used, behind);
  }
  return {static_cast<std::byte*>(data), [used, bytes](std::byte* at) {
            munmap(at, static_cast<size_t>(used));
            cpu::note_block(-bytes);
          }};
}

#endif

class CpuBackend final : public Backend {
 public:
  [[nodiscard]] const char* name() const override { return "cpu"; }
  [[nodiscard]] bool supports(Op /*op*/) const override { return true; }
  [[nodiscard]] bool shares_host_memory() const override { return true; }
  [[nodiscard]] bool updates_on_the_way() const override { return true; }
  [[nodiscard]] bool adds_in_products() const override { return true; }
  [[nodiscard]] int64_t alike_rows(const Graph& graph) const override {
    return cpu::are_rows_alike(graph) ? cpu::kAlikeRows : 1;
  }

  void copy(std::byte* to, const std::byte* from, int64_t bytes, CopyKind /*kind*/) const override {
    if (bytes > 0) std::memcpy(to, from, static_cast<size_t>(bytes));
  }

  [[nodiscard]] Memory allocate(int64_t bytes) const override {
    if (bytes == 0) return {};
#ifdef __linux__
    if (bytes >= kLargeBlock) {
      Memory memory{map_pages(bytes), bytes};
      cpu::note_block(bytes);
      return memory;
    }
#endif
    constexpr auto kAlign = static_cast<std::align_val_t>(kAlignment);
    void* data = ::operator new(static_cast<size_t>(bytes), kAlign, std::nothrow);
    if (data == nullptr) out_of_memory(bytes);
    std::memset(data, 0, static_cast<size_t>(bytes));
    std::shared_ptr<std::byte> block(static_cast<std::byte*>(data), [bytes](std::byte* p) {
      ::operator delete(p, kAlign);
      cpu::note_block(-bytes);
    });
    cpu::note_block(bytes);
    return {std::move(block), bytes};
  }

  [[nodiscard]] int64_t workspace_bytes(const Graph& graph, const Node& node,
                                        bool frozen) const override {
    cpu::Recorder recorder(graph, node, frozen, nullptr, nullptr, nullptr);
    recorder.launch();
    return recorder.workspace_bytes;
  }

  [[nodiscard]] std::unique_ptr<FrozenWeights> make_frozen_weights() const override {
    return std::make_unique<cpu::CpuFrozenWeights>();
  }

  [[nodiscard]] std::unique_ptr<Executable> compile(const CompileRequest& request) const override {
    return std::make_unique<cpu::CpuExecutable>(request);
  }
};

}  // namespace

const Backend& cpu_backend() {
  static const CpuBackend backend;
  return backend;
}

}  // namespace tandem
