// Which steps wait for which, how small ones are put together, and that a run keeps to it on any
// number of threads.
#include "cpu/schedule.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <random>
#include <vector>

#include "check.h"
#include "cpu/pool.h"

using namespace tandem;
using namespace tandem::cpu;

namespace {

using Nodes = std::vector<size_t>;

Access reads(int64_t begin, int64_t end, Space space = Space::kArena) {
  return {space, begin, end, false};
}
Access writes(int64_t begin, int64_t end, Space space = Space::kArena) {
  return {space, begin, end, true};
}

/// A run of `units` that notes what ran before its time or not exactly once.
struct Watched {
  explicit Watched(std::vector<Unit> plan, int workers)
      : units(std::move(plan)), queue(units, workers), tiles(units.size()), left(units.size()) {
    for (size_t u = 0; u < units.size(); ++u) {
      tiles[u] = std::make_unique<std::atomic<int>[]>(static_cast<size_t>(units[u].tiles));
    }
  }

  void run(int workers) {
    for (size_t u = 0; u < units.size(); ++u) {
      left[u] = units[u].tiles;
      for (int64_t t = 0; t < units[u].tiles; ++t) tiles[u][static_cast<size_t>(t)] = 0;
    }
    queue.reset();
    Pool::instance().run(
        workers, Pool::Length::kLong,
        [](void* opaque, int worker) {
          auto& self = *static_cast<Watched*>(opaque);
          self.queue.work(worker, [&](const Unit& unit, int64_t tile) { self.see(unit, tile); });
        },
        this);
    for (size_t u = 0; u < units.size(); ++u) {
      for (int64_t t = 0; t < units[u].tiles; ++t)
        errors += tiles[u][static_cast<size_t>(t)] == 1 ? 0 : 1;
    }
  }

  void see(const Unit& unit, int64_t tile) {
    const size_t u = unit.first;  // one step a unit here
    for (const uint32_t earlier : units[u].after) errors += left[earlier] == 0 ? 0 : 1;
    ++tiles[u][static_cast<size_t>(tile)];
    --left[u];
  }

  std::vector<Unit> units;
  UnitQueue queue;
  std::vector<std::unique_ptr<std::atomic<int>[]>> tiles;
  std::vector<std::atomic<int64_t>> left;
  std::atomic<int> errors{0};
};

}  // namespace

TEST(hazards_are_what_memory_says) {
  Hazards hazards;
  CHECK(hazards.add({writes(0, 64)}).empty());
  CHECK(hazards.add({reads(0, 64), writes(64, 128)}) == Nodes{0});
  CHECK(hazards.add({reads(0, 64), writes(128, 192)}) == Nodes{0});  // beside node 1
  CHECK(hazards.add({reads(64, 192), writes(192, 256)}) == (Nodes{2, 1}));
  CHECK(hazards.add({writes(0, 32)}) == (Nodes{2, 1}));  // its readers end first
  CHECK(hazards.add({writes(255, 300)}) == Nodes{3});    // one byte of what node 3 writes
  CHECK(hazards.add({reads(0, 1000, Space::kParameters)}).empty());
  CHECK(hazards.add({writes(64, 64), writes(500, 600, Space::kParameters)}) == Nodes{6});
  CHECK(hazards.add({reads(600, 700, Space::kParameters)}).empty());
}

TEST(hazards_leave_out_what_others_wait_for) {
  Hazards hazards;
  CHECK(hazards.add({writes(0, 8)}).empty());
  CHECK(hazards.add({reads(0, 8), writes(8, 16)}) == Nodes{0});
  CHECK(hazards.add({reads(0, 16), writes(16, 24)}) == Nodes{1});
}

TEST(units_share_large_steps_and_join_small_ones) {
  const std::vector<Unit> units = make_units({{4, 1e5, {}},
                                              {1, 1000, {0}},
                                              {9, 1000, {1}},   // too small to share
                                              {1, 3000, {0}},   // too much for one unit
                                              {1, 90000, {2}},  // cannot be shared
                                              {2, 5000, {3, 4}}});
  CHECK(units.size() == 5);
  CHECK(units[0].tiles == 4 && units[0].after.empty());
  CHECK(units[1].first == 1 && units[1].last == 3 && units[1].tiles == 1);
  CHECK(units[1].after == std::vector<uint32_t>{0});
  CHECK(units[2].first == 3 && units[2].last == 4 && units[2].after == std::vector<uint32_t>{0});
  CHECK(units[3].first == 4 && units[3].last == 5 && units[3].after == std::vector<uint32_t>{1});
  CHECK(units[4].tiles == 2 && units[4].after == (std::vector<uint32_t>{3, 2}));
}

TEST(units_of_steps_that_cost_nothing) {
  CHECK(make_units({{1, 0, {}}}).size() == 1);
  const std::vector<Unit> units = make_units({{7, 0, {}}, {2, 1e5, {0}}, {1, 0, {1}}, {3, 0, {2}}});
  CHECK(units.size() == 3);
  CHECK(units[0].tiles == 1 && units[0].last == 1);
  CHECK(units[1].tiles == 2 && units[1].first == 1 && units[1].last == 2);
  CHECK(units[2].tiles == 1 && units[2].first == 2 && units[2].last == 4);
}

TEST(units_run_once_and_in_their_order_on_any_number_of_threads) {
  std::mt19937 random(1);
  std::vector<StepShape> steps;
  for (size_t i = 0; i < 30; ++i) {
    StepShape step{static_cast<int64_t>(1 + random() % 12), 1e5, {}};
    for (size_t j = i < 5 ? 0 : i - 5; j < i; ++j) {
      if (random() % 4 == 0) step.after.push_back(j);
    }
    steps.push_back(step);
  }
  for (const int workers : {1, 2, 3, 5}) {
    Watched watched(make_units(steps), workers);
    for (int round = 0; round < 10; ++round) watched.run(workers);
    CHECK(watched.errors == 0);
  }
}
