#include "suite.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdio>
#include <cstring>

#include "core/error.h"
#include "cpu/pool.h"
#include "cpu/spin.h"
#include "isa_table.h"

namespace tandem::bench {
namespace {

/// Digits enough for any use, as JSON.
std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", value);
  return text;
}

void print_line(const Case& c, const std::string& figures) {
  std::printf(
      "{\"suite\":\"native\",\"group\":\"%s\",\"name\":\"%s\",\"type\":\"%s\",\"isa\":\"%s\","
      "\"threads\":%d,%s,\"unit\":\"%s\"}\n",
      c.group.c_str(), c.name.c_str(), c.type.c_str(), isa_table().name, c.threads, figures.c_str(),
      c.unit);
  std::fflush(stdout);
}

/// In each round the fastest of the sides that are roofs; nothing where none is.
Rates roof_of(const std::vector<Rates>& rates) {
  Rates roof{"roof", {}};
  for (const Rates& one : rates) {
    if (one.name != roof.name) continue;
    roof.values.resize(one.values.size());
    for (size_t i = 0; i < one.values.size(); ++i)
      roof.values[i] = std::max(roof.values[i], one.values[i]);
  }
  return roof;
}

}  // namespace

bool Suite::wants(const Case& c) const {
  return options_.filter.empty() ||
         (c.group + " " + c.name + " " + c.type).find(options_.filter) != std::string::npos;
}

Effort Suite::effort() const {
  // Cases in memory are of gigabytes where the last cache is large.
  Effort effort = options_.quick ? Effort{3, 2, 0.001, 0.5} : Effort{21, 5, 0.003, 2};
  if (options_.rounds > 0) effort.rounds = effort.fewest = options_.rounds;
  return effort;
}

void Suite::measure(const Case& c, const std::vector<Side>& sides) const {
  constexpr double kGiga = 1e-9;
  const std::vector<Rates> rates = take_turns(sides, effort(), c.threads);
  const Rates roof = roof_of(rates);
  const bool alone = rates.front().name == roof.name;
  const Rates& ours = alone ? roof : rates.front();
  std::string figures = "\"value\":" + number(median(ours.values) * kGiga) +
                        ",\"best\":" + number(highest(ours.values) * kGiga);
  if (!alone && !roof.values.empty()) {
    figures += ",\"roof\":" + number(median(roof.values) * kGiga) +
               ",\"roofBest\":" + number(highest(roof.values) * kGiga) +
               ",\"roofShare\":" + number(paired_ratio(ours, roof));
  }
  std::string peers;
  for (size_t i = 1; i < rates.size(); ++i) {
    const Rates& other = rates[i];
    if (other.name == roof.name) continue;
    peers += (peers.empty() ? "\"" : ",\"") + other.name +
             "\":{\"value\":" + number(median(other.values) * kGiga) +
             ",\"best\":" + number(highest(other.values) * kGiga) +
             ",\"ratio\":" + number(paired_ratio(ours, other)) + "}";
  }
  if (!peers.empty()) figures += ",\"peers\":{" + peers + "}";
  print_line(c, figures);
}

void Suite::print_times(const Case& c, const std::vector<double>& seconds) const {
  constexpr double kNano = 1e9;
  std::vector<double> rates;
  rates.reserve(seconds.size());
  for (const double time : seconds) rates.push_back(1 / time);
  print_line(c, "\"value\":" + number(median(seconds) * kNano) +
                    ",\"best\":" + number(kNano / highest(rates)));
}

namespace {

/// All threads of a dispatch come before any of them begins. The pool leaves threads out for a
/// while that other processes have held up: where some do not come, nobody begins.
class Meeting {
 public:
  Meeting(const std::function<void(int worker, int workers)>& body, int threads)
      : body_(body), threads_(threads) {}

  void run(int worker) {
    came_.fetch_add(1);
    const double end = now() + kPatience;
    cpu::Spinner spinner;
    int came = came_.load();
    while (came < threads_) {
      if (worker == 0 && now() > end) came_.compare_exchange_strong(came, kCancelled);
      spinner.pause();
      came = came_.load();
    }
    if (came == threads_) body_(worker, threads_);
  }

  [[nodiscard]] bool took_place() const { return came_.load() == threads_; }

 private:
  static constexpr double kPatience = 0.001;  // seconds; threads wake within a tenth of that
  static constexpr int kCancelled = 1 << 20;

  const std::function<void(int worker, int workers)>& body_;
  int threads_;
  std::atomic<int> came_{0};
};

}  // namespace

void on_threads(int threads, const std::function<void(int worker, int workers)>& body) {
  bool done = false;
  while (!done) {
    Meeting meeting(body, threads);
    cpu::Pool::instance().run(
        threads, cpu::Pool::Length::kLong,
        [](void* context, int worker) { static_cast<Meeting*>(context)->run(worker); }, &meeting);
    done = meeting.took_place();
  }
}

int64_t size_of(Element element) {
  switch (element) {
    case Element::kF32:
      return 4;
    case Element::kBf16:
      return 2;
    default:
      return 1;
  }
}

namespace {

constexpr int64_t kPage = 4096, kHugePage = 2 << 20;

int64_t in_pages(int64_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

/// Large memory stays for the cases to come: a system may take a second to hand out a gigabyte.
Memory allocate(int64_t bytes) {
  constexpr int64_t kLarge = 64 << 20;
  static std::vector<Memory> kept;
  if (bytes < kLarge) return cpu_backend().allocate(bytes);
  for (const Memory& one : kept) {
    if (one.data.use_count() == 1 && one.bytes >= bytes) return one;
  }
  const auto rounded = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(bytes)));
  return kept.emplace_back(cpu_backend().allocate(rounded));
}

}  // namespace

Memory pages(int64_t bytes) {
  const Memory whole = allocate(bytes + kPage);
  std::byte* const data = whole.data.get();
  const auto past = static_cast<int64_t>(reinterpret_cast<uintptr_t>(data) % kPage);
  return {std::shared_ptr<std::byte>(whole.data, data + (kPage - past) % kPage), bytes};
}

Block::Block(const std::vector<int64_t>& sizes) {
  // Large enough for huge pages: where small ones lie in memory decides which of them share a set
  // of the second cache.
  int64_t bytes = kHugePage;
  for (const int64_t size : sizes) bytes += in_pages(size);
  whole_ = pages(bytes);
}

Memory Block::take(int64_t bytes) {
  if (taken_ + in_pages(bytes) > whole_.bytes) fail(ErrorCode::kArgument, "a block is too small");
  std::byte* const data = whole_.data.get() + taken_;
  taken_ += in_pages(bytes);
  return {std::shared_ptr<std::byte>(whole_.data, data), bytes};
}

Memory noise(int64_t count, Element element) {
  Memory memory = pages(count * size_of(element));
  fill_with_noise(memory, element);
  return memory;
}

void fill_with_noise(const Memory& memory, Element element) {
  // A pattern of some length and then its copies: cases in memory have hundreds of megabytes.
  constexpr int64_t kPattern = 4096 - 64;
  const int64_t size = size_of(element);
  const int64_t count = memory.bytes / size;
  std::byte* bytes = memory.data.get();
  uint32_t state = 12345;
  for (int64_t i = 0; i < std::min(count, kPattern); ++i) {
    state = state * 1664525U + 1013904223U;
    const float value = 0.1F + 0.8F * static_cast<float>(state >> 8) * 0x1p-24F;
    const auto bits = std::bit_cast<uint32_t>(value);
    const auto upper = static_cast<uint16_t>(bits >> 16);
    const auto small = static_cast<uint8_t>(state >> 24);
    const void* from = &small;
    if (element == Element::kF32) from = &value;
    if (element == Element::kBf16) from = &upper;
    std::memcpy(bytes + i * size, from, static_cast<size_t>(size));
  }
  for (int64_t i = kPattern; i < count; i += kPattern) {
    const int64_t rest = std::min(kPattern, count - i);
    std::memcpy(bytes + i * size, bytes, static_cast<size_t>(rest * size));
  }
}

}  // namespace tandem::bench
