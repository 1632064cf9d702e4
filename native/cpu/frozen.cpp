#include "cpu/frozen.h"

#include <atomic>
#include <cstring>
#include <vector>

#include "cpu/pool.h"

namespace tandem::cpu {
namespace {

/// Packing is one pass over memory, which has room for more than one thread.
void pack(TileFn fn, const void* params, void* const* operands, int64_t tiles, int64_t bytes) {
  constexpr int64_t kWorthSharing = int64_t{1} << 18;
  struct Work {
    TileFn fn;
    const void* params;
    void* const* operands;
    int64_t tiles;
    std::atomic<int64_t> next{0};
  } work{fn, params, operands, tiles};
  const int workers = bytes < kWorthSharing || tiles < 2 ? 1 : available_processors();
  Pool::instance().run(
      workers, Pool::Length::kLong,
      [](void* opaque, int /*worker*/) {
        auto& shared = *static_cast<Work*>(opaque);
        for (int64_t tile = shared.next++; tile < shared.tiles; tile = shared.next++)
          shared.fn(shared.params, shared.operands, tile, {nullptr, nullptr});
      },
      &work);
}

}  // namespace

void* CpuFrozenWeights::find_or_pack(int32_t index, uint64_t layout, const void* plain, DType dtype,
                                     TileFn fn, const void* params, size_t bytes, int64_t tiles,
                                     int64_t packed_bytes) {
  Memory& packed = packed_[{index, layout}];
  if (packed.data != nullptr) return packed.data.get();
  if (plain == nullptr)
    fail(ErrorCode::kArgument, "expected a weight that is packed already, received none");
  Memory memory = cpu_backend().allocate(packed_bytes);
  std::vector<std::max_align_t> copy(bytes / sizeof(std::max_align_t) + 1);
  if (bytes > 0) std::memcpy(copy.data(), params, bytes);
  void* const source = const_cast<void*>(plain);
  const bool is_bytes = dtype == DType::kUInt8;
  void* operands[3] = {is_bytes ? nullptr : source, memory.data.get(), is_bytes ? source : nullptr};
  pack(fn, copy.data(), operands, tiles, packed_bytes);
  // Not before: whoever asks next must not find what is half packed.
  packed = std::move(memory);
  bytes_ += packed.bytes;
  return packed.data.get();
}

}  // namespace tandem::cpu
