#include "roofs.h"

#include <algorithm>
#include <atomic>
#include <fstream>
#include <memory>

#include "isa_table.h"
#include "peaks.h"
#include "suite.h"

namespace tandem::bench {
namespace {

constexpr int64_t kRounds = 20000;
/// Elements of a stream that a thread reads or writes in memory before another part.
constexpr int64_t kPart = 16 << 10;

struct Streams {
  std::vector<Memory> memory;
  std::vector<float*> pointers;
};

/// Bytes of the cache of this level that holds data, or `otherwise` where the system does not say.
/// (sysconf() knows some of them wrongly on AMD's processors.)
int64_t cache_size(int level, int64_t otherwise) {
  for (int i = 0; i < 8; ++i) {
    const std::string folder = "/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(i);
    int found = 0;
    std::ifstream(folder + "/level") >> found;
    std::string type;
    std::ifstream(folder + "/type") >> type;
    int64_t kilobytes = 0;
    std::ifstream(folder + "/size") >> kilobytes;
    if (found == level && type != "Instruction" && kilobytes > 0) return kilobytes * 1024;
  }
  return otherwise;
}

}  // namespace

std::optional<Side> peak(const std::string& type, int threads) {
  PeakKernel kernel = isa_table().roofs->multiply_add;
  if (type == "s8") kernel = s8_peak(isa_table().name);
  if (type == "bf16" && bf16_peak(isa_table().name) != nullptr)
    kernel = bf16_peak(isa_table().name);
  if (kernel == nullptr) return {};
  const double operations = kernel(1) * kRounds * threads;
  return Side{"roof", operations, [=](int64_t calls) {
                on_threads(threads,
                           [=](int /*worker*/, int /*workers*/) { kernel(calls * kRounds); });
              }};
}

std::vector<Side> bandwidth(const Traffic& traffic, int64_t bytes, int threads) {
  const int count = traffic.reads + (traffic.in_place ? 0 : traffic.writes);
  const auto grain = static_cast<int64_t>(threads) * 128;
  const int64_t elements =
      std::max(bytes / count / static_cast<int64_t>(sizeof(float)) / grain, int64_t{1}) * grain;
  const int64_t stream_bytes = elements * static_cast<int64_t>(sizeof(float));
  Block block(std::vector<int64_t>(static_cast<size_t>(count), stream_bytes));
  auto streams = std::make_shared<Streams>();
  for (int i = 0; i < count; ++i) {
    streams->memory.push_back(block.take(stream_bytes));
    fill_with_noise(streams->memory.back());
    streams->pointers.push_back(floats(streams->memory.back()));
  }
  const RoofKernels* roofs = isa_table().roofs;
  const double moved = static_cast<double>(stream_bytes) * (traffic.reads + traffic.writes);
  // What fits in caches stays in those of one thread. Of memory the threads take the next part when
  // they are done with one, as ours do: parts that lie a fixed distance apart can be in one bank of
  // it all along, and the slower thread would keep the other one waiting.
  const bool in_caches = bytes <= 4 * working_sets().l3;
  const int64_t parts = (elements + kPart - 1) / kPart;
  std::vector<Way> ways{Way::kSteps};
  if (traffic.writes > 0) ways.push_back(Way::kFours);
  if (traffic.writes > 0 && !traffic.in_place) ways.push_back(Way::kStreaming);
  std::vector<Side> sides;
  for (const Way way : ways) {
    const auto run = [=](int64_t begin, int64_t end, int64_t times) {
      roofs->sweep(traffic, way, streams->pointers.data(), {begin, end, times});
    };
    sides.push_back({"roof", moved, [=](int64_t calls) {
                       std::atomic<int64_t> next{0};
                       on_threads(threads, [&](int worker, int workers) {
                         const int64_t part = elements / workers;
                         if (in_caches) return run(worker * part, (worker + 1) * part, calls);
                         for (int64_t i = next++; i < calls * parts; i = next++) {
                           const int64_t begin = i % parts * kPart;
                           run(begin, std::min(begin + kPart, elements), 1);
                         }
                       });
                     }});
  }
  return sides;
}

std::vector<Side> under_roof(std::vector<Side> sides, const Traffic& traffic, int64_t bytes,
                             int threads) {
  for (Side& side : bandwidth(traffic, bytes, threads)) sides.push_back(std::move(side));
  if (traffic.in_place && traffic.reads > 1) {
    for (Side& side : bandwidth({1, 1, true}, bytes, threads)) sides.push_back(std::move(side));
  }
  return sides;
}

CacheSizes working_sets() {
  constexpr int64_t kKiB = 1024;
  constexpr int64_t kMiB = kKiB * kKiB;
  const int64_t last = cache_size(3, 32 * kMiB);
  return {cache_size(1, 32 * kKiB) / 2, cache_size(2, kMiB) / 2, last / 4,
          std::max(128 * kMiB, 2 * last)};
}

void run_roofs(const Suite& suite) {
  const CacheSizes sizes = working_sets();
  for (const int threads : suite.options().threads) {
    for (const char* type : {"f32", "bf16", "s8"}) {
      const Case c{"roof", "multiply-add", type, threads, unit_of(type)};
      const auto side = peak(type, threads);
      if (side && suite.wants(c)) suite.measure(c, {*side});
    }
    const auto measure = [&](const std::string& name, const Traffic& traffic, int64_t bytes) {
      const Case c{"roof", name, "f32", threads, "GB/s"};
      if (suite.wants(c)) suite.measure(c, bandwidth(traffic, bytes, threads));
    };
    const struct {
      const char* name;
      int64_t bytes;
    } places[] = {{"L1", sizes.l1 * threads},
                  {"L2", sizes.l2 * threads},
                  {"L3", sizes.l3},
                  {"memory", sizes.memory}};
    for (const auto& place : places) {
      if (place.bytes == sizes.memory && !suite.goes_to_memory(threads)) continue;
      const std::string name = place.name;
      measure(name + " read", {1, 0, false}, place.bytes);
      measure(name + " read and write in place", {1, 1, true}, place.bytes);
      measure(name + " copy", {1, 1, false}, place.bytes);
    }
  }
}

}  // namespace tandem::bench
