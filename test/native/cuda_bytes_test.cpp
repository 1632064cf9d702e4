// How products of bytes are cut and their way chosen, and what becomes of frozen weights, with
// functions of the tests in place of a device.
#include <algorithm>
#include <cstring>

#include "check.h"
#include "core/error.h"
#include "cuda/host/byte_choices.h"
#include "cuda/host/byte_tiles.h"
#include "cuda/host/frozen_memory.h"
#include "cuda/host/shared_needed.h"

using namespace tandem;
using namespace tandem::cuda;

namespace {

constexpr int64_t kLarge = int64_t{227} * 1024, kTuring = int64_t{64} * 1024;
constexpr ByteDevice kHopper{kLarge, true};
constexpr ByteDevice kPlain{kLarge, false};  // as much memory, and no products by groups of warps

bool has(const std::vector<ByteWay>& ways, ByteWay way) {
  return std::find(ways.begin(), ways.end(), way) != ways.end();
}

}  // namespace

TEST(byte_products_have_ways_by_shape) {
  const ByteChoices choices(kPlain, nullptr);
  CHECK(choices.ways({1, 4096, 4096}) == std::vector{ByteWay::kTile16x64});
  CHECK(choices.ways({8192, 4096, 4096}).front() == ByteWay::kTile128x128);
  CHECK(choices.ways({128, 128, 64}).front() == ByteWay::kTile64x64);
  CHECK(has(choices.ways({128, 128, 64}), ByteWay::kTile128x128));
  CHECK(has(choices.ways({128, 128, 64}), ByteWay::kLibrary));
  // cuBLASLt wants columns by fours and rows in memory
  CHECK(!has(choices.ways({128, 130, 64}), ByteWay::kLibrary));
  CHECK(!has(choices.ways({128, 128, 64, false}), ByteWay::kLibrary));
  for (const int64_t m : {1, 16, 17, 64, 65, 100000}) {
    for (const int64_t n : {1, 64, 100000}) CHECK(!choices.ways({m, n, 16}).empty());
  }
}

TEST(byte_products_fit_the_shared_memory) {
  CHECK(byte_shared(128, 128) <= kLarge && byte_shared(128, 128) > kTuring);
  CHECK(warpgroup_shared(256) + 1024 <= kLarge && warpgroup_shared(128) < warpgroup_shared(256));
  CHECK(byte_shared(64, 64) <= 48 * 1024 && byte_shared(16, 64) <= 48 * 1024);
  const ByteChoices choices({kTuring, true}, nullptr);
  for (const int64_t m : {1, 70, 8192}) {
    CHECK(!has(choices.ways({m, 4096, 64}), ByteWay::kTile128x128));
    CHECK(!has(choices.ways({m, 4096, 64}), ByteWay::kWarpgroups128x128));
    CHECK(!choices.ways({m, 4096, 64}).empty());
  }
}

TEST(byte_products_by_groups_of_warps) {
  const ByteChoices choices(kHopper, nullptr);
  const auto offered = [&](const ByteShape& shape) {
    const std::vector<ByteWay> ways = choices.ways(shape);
    const bool wide = has(ways, ByteWay::kWarpgroups128x256);
    CHECK(has(ways, ByteWay::kWarpgroups128x128) == wide);
    return wide;
  };
  CHECK(choices.ways({4096, 4096, 4096}).front() == ByteWay::kWarpgroups128x256);
  CHECK(choices.ways({1024, 1024, 1024}).front() == ByteWay::kWarpgroups128x128);
  CHECK(offered({65, 1, 16}) && !offered({64, 4096, 4096}) && !offered({65, 1, 0}));
  // windows of images are no matrix that the copy engine could read
  CHECK(!offered({4096, 4096, 4096, false}));
  constexpr int64_t kHuge = int64_t{1} << 30;
  CHECK(offered({kHuge, 128, 16}) && !offered({kHuge + 1, 128, 16}) &&
        !offered({kHuge, kHuge, 16}));
  CHECK(!has(ByteChoices(kPlain, nullptr).ways({4096, 4096, 4096}), ByteWay::kWarpgroups128x256));
}

TEST(byte_tiles_are_all_taken_once) {
  constexpr std::pair<int32_t, int32_t> kGrids[] = {{1, 1},  {1, 40}, {40, 1}, {16, 3},
                                                    {17, 5}, {33, 7}, {32, 16}};
  for (const auto& [rows, columns] : kGrids) {
    std::vector<int> taken(static_cast<size_t>(rows) * static_cast<size_t>(columns));
    for (int32_t i = 0; i < rows * columns; ++i) {
      const TilePlace at = tile_place(i, rows, columns);
      const bool inside = at.row >= 0 && at.row < rows && at.column >= 0 && at.column < columns;
      CHECK(inside);
      if (!inside) continue;
      ++taken[static_cast<size_t>(at.row) * static_cast<size_t>(columns) +
              static_cast<size_t>(at.column)];
    }
    CHECK(std::all_of(taken.begin(), taken.end(), [](int count) { return count == 1; }));
  }
  // a band first, whose columns follow each other
  CHECK(tile_place(16, 40, 8).row == 0 && tile_place(16, 40, 8).column == 1);
  CHECK(tile_place(128, 40, 8).row == 16 && tile_place(128, 40, 8).column == 0);
}

TEST(byte_products_take_the_fastest_way_and_remember) {
  int measured = 0;
  ByteChoices choices(kHopper, [&](const ByteShape&, ByteWay way) {
    ++measured;
    return way == ByteWay::kLibrary ? 0.25 : way == ByteWay::kTile64x64 ? -1.0 : 0.5;
  });
  CHECK(choices.choose({8192, 4096, 4096}) == ByteWay::kLibrary);
  const int once = measured;
  CHECK(choices.choose({8192, 4096, 4096}) == ByteWay::kLibrary && measured == once);
  CHECK(choices.choose({8192, 4096, 4096, true, true}) == ByteWay::kLibrary && measured > once);
  CHECK(choices.size() == 2);
  ByteChoices failing(kHopper, [](const ByteShape&, ByteWay) { return -1.0; });
  CHECK(failing.choose({8192, 4096, 4096}) == ByteWay::kWarpgroups128x256);
}

TEST(frozen_memory_is_made_once) {
  int64_t allocated = 0;
  FrozenMemory frozen([&](int64_t bytes) {
    allocated += bytes;
    return Memory{std::shared_ptr<std::byte>(new std::byte[static_cast<size_t>(bytes)],
                                             std::default_delete<std::byte[]>()),
                  bytes};
  });
  int filled = 0;
  const auto fill = [&](std::byte* memory) {
    ++filled;
    *memory = std::byte{42};
  };
  std::byte* const first = frozen.find_or_make({0, 3}, 100, fill);
  CHECK(first != nullptr && *first == std::byte{42});
  CHECK(frozen.find_or_make({0, 3}, 100, fill) == first && frozen.find({0, 3}) == first);
  CHECK(frozen.find_or_make({0, 4}, 10, fill) != first);
  CHECK(frozen.find_or_make({1, 3}, 10, fill) != first);
  CHECK(filled == 3 && allocated == 120 && frozen.bytes() == 120);
}

TEST(frozen_memory_keeps_nothing_of_what_fails) {
  FrozenMemory frozen([](int64_t bytes) {
    return Memory{std::shared_ptr<std::byte>(new std::byte[static_cast<size_t>(bytes)],
                                             std::default_delete<std::byte[]>()),
                  bytes};
  });
  int failures = 0;
  const auto expect = [&](ErrorCode code, const auto& f) {
    try {
      f();
    } catch (const Error& error) {
      failures += error.code() == code ? 1 : 0;
    }
  };
  const auto refuse = [](std::byte*) { fail(ErrorCode::kDevice, "expected a device"); };
  expect(ErrorCode::kDevice, [&] { frozen.find_or_make({0, 0}, 8, refuse); });
  expect(ErrorCode::kArgument, [&] { static_cast<void>(frozen.find({0, 0})); });
  CHECK(failures == 2 && frozen.bytes() == 0);
  CHECK(frozen.find_or_make({0, 0}, 8, [](std::byte*) {}) != nullptr && frozen.bytes() == 8);
}

TEST(what_needs_more_shared_memory_than_turing_has) {
  CHECK(shared_needed(Op::attention) > kTuring && shared_needed(Op::attentionGrad) > kTuring);
  CHECK(shared_needed(Op::quantizedAttention) == 0 && shared_needed(Op::conv2d) == 0);
  constexpr int64_t kAmpere = int64_t{99} * 1024;  // of 8.6, the least beside 7.5
  for (int op = 0; op < static_cast<int>(Op::kCount); ++op)
    CHECK(shared_needed(static_cast<Op>(op)) <= kAmpere);
}
