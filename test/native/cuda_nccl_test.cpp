// The reducer over NCCL with functions that the tests make: what it asks for, and what it does when
// ranks fail or stay away. That NCCL adds what it is given is for several GPUs to show.
#include "cuda/host/nccl_reducer.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "check.h"
#include "core/error.h"
#include "cuda/host/nccl_library.h"

using namespace tandem;
using namespace tandem::cuda;

namespace {

struct Calls {
  int joined = 0, destroyed = 0, aborted = 0, reduced = 0, questions = 0;
  int ranks = 0, rank = -1;
  char id = 0;
  size_t count = 0;
  void* data = nullptr;
  nccl::Stream stream = nullptr;
  bool in_place = false, mean_of_floats = false;
  bool returns_at_once = false;
  nccl::Result on_join = nccl::kSuccess, on_reduce = nccl::kSuccess;
  std::vector<nccl::Result> states;  ///< answers to the questions, the last one for all that follow
};
Calls calls;

nccl::Functions fake_functions() {
  nccl::Functions f{};
  f.GetUniqueId = [](nccl::UniqueId* id) {
    std::memset(id->bytes, 7, sizeof id->bytes);
    return nccl::kSuccess;
  };
  f.CommInitRankConfig = [](nccl::Communicator* out, int ranks, nccl::UniqueId id, int rank,
                            nccl::Config* config) {
    ++calls.joined;
    calls.ranks = ranks;
    calls.rank = rank;
    calls.id = id.bytes[127];
    calls.returns_at_once = config->blocking == 0 && config->size == sizeof *config &&
                            config->magic == 0xcafebeef && config->version == 21400;
    if (calls.on_join == nccl::kSuccess || calls.on_join == nccl::kInProgress) *out = &calls;
    return calls.on_join;
  };
  f.CommDestroy = [](nccl::Communicator) {
    ++calls.destroyed;
    return nccl::kSuccess;
  };
  f.CommAbort = [](nccl::Communicator) {
    ++calls.aborted;
    return nccl::kSuccess;
  };
  f.CommGetAsyncError = [](nccl::Communicator, nccl::Result* error) {
    const size_t last = calls.states.empty() ? 0 : calls.states.size() - 1;
    const size_t at = std::min(static_cast<size_t>(calls.questions++), last);
    *error = calls.states.empty() ? nccl::kSuccess : calls.states[at];
    return nccl::kSuccess;
  };
  f.AllReduce = [](const void* send, void* receive, size_t count, nccl::DataType type,
                   nccl::Reduction reduction, nccl::Communicator, nccl::Stream stream) {
    ++calls.reduced;
    calls.data = receive;
    calls.in_place = send == receive;
    calls.count = count;
    calls.stream = stream;
    calls.mean_of_floats = type == nccl::kFloat32 && reduction == nccl::kAverage;
    return calls.on_reduce;
  };
  f.GetErrorString = [](nccl::Result) { return "a remote error"; };
  return f;
}

/// A stream that has passed when it is asked for the third time.
ReducerStream slow_stream() {
  return {&calls, [questions = 0]() mutable { return ++questions % 3 == 0; }};
}

template <typename F>
void expect(ErrorCode code, const char* words, const F& f) {
  bool thrown = false;
  try {
    f();
  } catch (const Error& error) {
    thrown = true;
    CHECK(error.code() == code);
    CHECK(std::strstr(error.what(), words) != nullptr);
  }
  CHECK(thrown);
}

}  // namespace

TEST(nccl_takes_the_mean_in_place) {
  calls = {};
  const nccl::Functions f = fake_functions();
  {
    NcclReducer reducer(f, make_nccl_id(f), 1, 3, slow_stream());
    CHECK(reducer.ranks() == 3 && calls.joined == 1 && calls.ranks == 3 && calls.rank == 1);
    CHECK(calls.id == 7 && calls.returns_at_once && calls.questions == 1);
    float gradients[5] = {};
    reducer.reduce(gradients, 5);
    reducer.reduce(gradients, 0);
    CHECK(calls.reduced == 1 && calls.in_place && calls.data == gradients && calls.count == 5);
    CHECK(calls.mean_of_floats && calls.stream == &calls && calls.questions == 1 + 3);
  }
  CHECK(calls.destroyed == 1 && calls.aborted == 0);
}

TEST(nccl_is_not_asked_for_one_rank) {
  calls = {};
  const nccl::Functions f = fake_functions();
  float gradients[2] = {};
  NcclReducer(f, {}, 0, 1, slow_stream()).reduce(gradients, 2);
  CHECK(calls.joined == 0 && calls.reduced == 0 && calls.destroyed == 0);
}

TEST(nccl_refuses_ranks_that_are_none) {
  const nccl::Functions f = fake_functions();
  for (const auto& [rank, ranks] : {std::pair{-1, 2}, std::pair{2, 2}, std::pair{0, 0}}) {
    expect(ErrorCode::kArgument, "`rank`",
           [&, rank = rank, ranks = ranks] { NcclReducer(f, {}, rank, ranks, slow_stream()); });
  }
}

TEST(nccl_asks_the_stream_only_for_work_that_it_was_given) {
  calls = {};
  calls.on_join = calls.on_reduce = nccl::kInProgress;
  calls.states = {nccl::kInProgress, nccl::kInProgress, nccl::kSuccess,
                  nccl::kInProgress, nccl::kInProgress, nccl::kSuccess};
  const nccl::Functions f = fake_functions();
  int asked_after = 0;
  NcclReducer reducer(f, {}, 0, 2, {nullptr, [&] {
                                      asked_after = calls.questions;
                                      return true;
                                    }});
  CHECK(calls.questions == 3 && asked_after == 0);
  float gradients[4] = {};
  reducer.reduce(gradients, 4);
  CHECK(calls.questions == 6 && asked_after == 6);
}

TEST(nccl_gives_up_when_a_rank_fails) {
  const nccl::Functions f = fake_functions();
  float gradients[4] = {};
  for (const bool at_once : {true, false}) {
    calls = {};
    if (at_once) {
      calls.on_reduce = 6;
    } else {
      calls.states = {nccl::kSuccess, nccl::kSuccess, 6};
    }
    NcclReducer reducer(f, {}, 0, 2, slow_stream());
    expect(ErrorCode::kDevice, "a remote error (6)", [&] { reducer.reduce(gradients, 4); });
    CHECK(calls.aborted == 1);
    expect(ErrorCode::kDevice, "has failed", [&] { reducer.reduce(gradients, 4); });
    CHECK(calls.reduced == 1 && calls.aborted == 1);
  }
  CHECK(calls.destroyed == 0);
}

TEST(nccl_gives_up_when_the_device_fails) {
  calls = {};
  const nccl::Functions f = fake_functions();
  float gradients[4] = {};
  NcclReducer reducer(f, {}, 0, 2,
                      {nullptr, []() -> bool { fail(ErrorCode::kDevice, "an illegal address"); }});
  expect(ErrorCode::kDevice, "an illegal address", [&] { reducer.reduce(gradients, 4); });
  CHECK(calls.aborted == 1);
  expect(ErrorCode::kDevice, "has failed", [&] { reducer.reduce(gradients, 4); });
}

TEST(nccl_leaves_a_group_that_it_cannot_join) {
  const nccl::Functions f = fake_functions();
  const auto join = [&] { NcclReducer(f, {}, 0, 2, slow_stream(), std::chrono::milliseconds(2)); };
  calls = {};
  calls.on_join = 2;
  expect(ErrorCode::kDevice, "find the other ranks", join);
  CHECK(calls.aborted == 0 && calls.destroyed == 0);  // there is no communicator
  calls = {};
  calls.on_join = nccl::kInProgress;
  calls.states = {nccl::kInProgress, 6};
  expect(ErrorCode::kDevice, "find the other ranks, received a remote error (6)", join);
  CHECK(calls.aborted == 1 && calls.destroyed == 0);
  calls = {};
  calls.on_join = nccl::kInProgress;
  calls.states = {nccl::kInProgress};
  expect(ErrorCode::kDevice, "find the other ranks, received no answer within 2 ms", join);
  CHECK(calls.aborted == 1 && calls.destroyed == 0);
}

TEST(nccl_does_not_wait_for_ever) {
  calls = {};
  const nccl::Functions f = fake_functions();
  float gradients[4] = {};
  NcclReducer reducer(f, {}, 0, 2, {nullptr, [] { return false; }}, std::chrono::milliseconds(2));
  expect(ErrorCode::kDevice, "no answer within 2 ms", [&] { reducer.reduce(gradients, 4); });
  CHECK(calls.aborted == 1);
}

TEST(nccl_is_told_apart_from_what_is_not) {
  expect(ErrorCode::kDevice, "received none", [] { open_nccl({"/nowhere/libnccl.so.2"}); });
#if defined(TANDEM_FAKES) && defined(__linux__)
  const std::string folder = TANDEM_FAKES;
  expect(ErrorCode::kDevice, "without it", [&] { open_nccl({folder + "/libfake_empty.so"}); });
  expect(ErrorCode::kDevice, "2.14", [&] { open_nccl({folder + "/libfake_nccl_old.so"}); });
  const NcclLibrary found = open_nccl({"/nowhere/libnccl.so.2", folder + "/libfake_nccl.so"});
  CHECK(found.version == 22703 && found.name == folder + "/libfake_nccl.so");
  CHECK(make_nccl_id(found.functions).bytes[0] == 5);
#endif
}
