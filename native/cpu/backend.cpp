#include "core/backend.h"

#include <cstdlib>
#include <cstring>
#include <new>

#include "cpu/executable.h"
#include "cpu/isa_select.h"

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace tandem {
namespace {

[[noreturn]] void out_of_memory(int64_t bytes) {
  fail(ErrorCode::kOutOfMemory,
       "expected " + std::to_string(bytes) + " bytes of memory, the system has none left");
}

class CpuBackend final : public Backend {
 public:
  [[nodiscard]] const char* name() const override { return "cpu"; }
  [[nodiscard]] bool supports(Op /*op*/) const override { return true; }

  [[nodiscard]] Memory allocate(int64_t bytes) const override {
    if (bytes == 0) return {};
    constexpr int64_t kHugePage = int64_t{2} << 20;
    const int64_t alignment = bytes >= kHugePage ? kHugePage : kAlignment;
    const auto align = static_cast<std::align_val_t>(alignment);
    void* data = ::operator new(static_cast<size_t>(bytes), align, std::nothrow);
    if (data == nullptr) out_of_memory(bytes);
#ifdef __linux__
    // large arenas are swept end to end: fewer TLB misses
    if (alignment == kHugePage) (void)madvise(data, static_cast<size_t>(bytes), MADV_HUGEPAGE);
#endif
    std::memset(data, 0, static_cast<size_t>(bytes));
    return {std::shared_ptr<std::byte>(static_cast<std::byte*>(data),
                                       [align](std::byte* p) { ::operator delete(p, align); }),
            bytes};
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
