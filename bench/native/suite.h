// What the groups of the suite share: options, the line of a case, threads and memory.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <vector>

#include "core/backend.h"
#include "measure.h"

namespace tandem::bench {

struct Options {
  bool quick = false;
  int rounds = 0;            ///< how often sides take their turns; 0: as many as the suite wants
  std::string filter;        ///< a case runs when its "group name type" contains this
  std::vector<int> threads;  ///< numbers of threads to measure with
  int processors = 1;        ///< of this machine that the library would use
};

struct Case {
  std::string group;
  std::string name;
  std::string type = "f32";
  int threads = 1;
  const char* unit = "GFLOP/s";
};

/// Billions of operations a second.
inline const char* unit_of(const std::string& type) { return type == "s8" ? "GOP/s" : "GFLOP/s"; }

/// Sizes as they stand in a case's name: 64x32x64.
inline std::string joined(std::initializer_list<int64_t> sizes) {
  std::string text;
  for (const int64_t size : sizes) {
    if (!text.empty()) text += 'x';
    text += std::to_string(size);
  }
  return text;
}

class Suite {
 public:
  explicit Suite(Options options) : options_(std::move(options)) {}

  [[nodiscard]] const Options& options() const { return options_; }
  /// Whether the user wants this case: ask before making its operands.
  [[nodiscard]] bool wants(const Case& c) const;
  /// Measures and prints: `sides` begin with ours; of those named "roof" the fastest in each round
  /// gives the share of the roof, all others are peers. A roof by itself has no side of ours.
  void measure(const Case& c, const std::vector<Side>& sides) const;
  /// Prints times, of which less is better: `seconds` of a call in each round.
  void print_times(const Case& c, const std::vector<double>& seconds) const;
  [[nodiscard]] Effort effort() const;
  /// Whether to measure what lies in memory: gigabytes a case, so that a quick run looks at all
  /// threads alone.
  [[nodiscard]] bool goes_to_memory(int threads) const {
    return !options_.quick || threads == options_.threads.back();
  }

 private:
  Options options_;
};

/// Describes machine, instruction set and peers as the first line.
void print_machine(const Options& options);

/// Calls `body` on the threads of the library's pool.
void on_threads(int threads, const std::function<void(int worker, int workers)>& body);

enum class Element : uint8_t { kF32, kBf16, kS8, kU8 };
int64_t size_of(Element element);
/// Memory at the start of a page. Buffers that lie a little more than some pages apart are slow to
/// copy, because processors compare the lower bits of addresses only to see whether a load depends
/// on a store; whether a case has such buffers must not be chance.
Memory pages(int64_t bytes);
/// Always the same numbers: floats in [0.1, 0.9], where every elementwise function is at home, and
/// integers of all sizes.
Memory noise(int64_t count, Element element = Element::kF32);
void fill_with_noise(const Memory& memory, Element element = Element::kF32);

/// Memory for the buffers of one side, one behind the other at the starts of pages. Buffers of
/// their own lie where there is room, and processors that guess the way of a cache from a hash of
/// the address (AMD's do) are several times slower where two streams have the same hash.
class Block {
 public:
  /// With room for buffers of these sizes.
  explicit Block(const std::vector<int64_t>& sizes);
  Memory take(int64_t bytes);

 private:
  Memory whole_;
  int64_t taken_ = 0;
};
inline float* floats(const Memory& memory) { return reinterpret_cast<float*>(memory.data.get()); }

// The groups.
void run_roofs(const Suite& suite);
void run_products(const Suite& suite);
void run_perceptrons(const Suite& suite);
void run_convolutions(const Suite& suite);
void run_elementwise(const Suite& suite);
void run_chains(const Suite& suite);
void run_softmax(const Suite& suite);
void run_attention(const Suite& suite);
void run_norms(const Suite& suite);
void run_reductions(const Suite& suite);
void run_recurrent(const Suite& suite);
void run_optimizers(const Suite& suite);
void run_pool(const Suite& suite);

}  // namespace tandem::bench
