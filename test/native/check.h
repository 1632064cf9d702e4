// A test registry small enough to read: TEST(name) { CHECK(...); }. A failed check is recorded and
// the test goes on; an exception ends it. Checks may run on any thread. main.cpp holds main.
#pragma once

#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <exception>
#include <string>
#include <vector>

namespace tandem::check {

struct Test {
  const char* name;
  void (*body)();
};

inline std::vector<Test>& tests() {
  static std::vector<Test> all;
  return all;
}

inline std::atomic<int>& failures() {
  static std::atomic<int> count{0};
  return count;
}

struct Registration {
  Registration(const char* name, void (*body)()) { tests().push_back({name, body}); }
};

inline void fail(const char* file, int line, const std::string& what) {
  ++failures();
  std::printf("  %s:%d: %s\n", file, line, what.c_str());
}

// |got - want| <= tolerance * max(1, |want|): absolute around zero, relative beyond one. NaN and
// the infinities agree only with themselves.
inline bool near(double got, double want, double tolerance) {
  if (std::isnan(got) || std::isnan(want)) return std::isnan(got) && std::isnan(want);
  if (std::isinf(got) || std::isinf(want)) return got == want;
  return std::fabs(got - want) <= tolerance * std::fmax(1.0, std::fabs(want));
}

// Whether `filter` asks for a test: `=name` for the one of that name, else by a part of its name.
inline bool asks_for(const char* filter, const char* name) {
  if (filter == nullptr) return true;
  if (filter[0] == '=') return std::strcmp(name, filter + 1) == 0;
  return std::strstr(name, filter) != nullptr;
}

// Runs the tests that `filter` asks for. The closing line is what scripts/test.mjs reads.
inline int run(const char* filter) {
  int passed = 0;
  int failed = 0;
  for (const Test& test : tests()) {
    if (!asks_for(filter, test.name)) continue;
    std::printf("%s\n", test.name);
    std::fflush(stdout);  // a crash must leave the name of the test that it happened in
    const int before = failures();
    try {
      test.body();
    } catch (const std::exception& error) {
      fail(test.name, 0, std::string("threw ") + error.what());
    } catch (...) {
      fail(test.name, 0, "threw something that is no std::exception");
    }
    const bool ok = failures() == before;
    ++(ok ? passed : failed);
    if (!ok) std::printf("  FAILED %s\n", test.name);
  }
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed == 0 ? 0 : 1;
}

}  // namespace tandem::check

#define TEST(name)                                                                                \
  static void tandem_test_##name();                                                               \
  static const tandem::check::Registration tandem_registration_##name{#name, tandem_test_##name}; \
  static void tandem_test_##name()

#define CHECK(condition)                                                                \
  do {                                                                                  \
    if (!(condition)) tandem::check::fail(__FILE__, __LINE__, "CHECK(" #condition ")"); \
  } while (false)

#define CHECK_NEAR(got, want, tolerance)                                                           \
  do {                                                                                             \
    const double tandem_got = static_cast<double>(got);                                            \
    const double tandem_want = static_cast<double>(want);                                          \
    if (!tandem::check::near(tandem_got, tandem_want, tolerance))                                  \
      tandem::check::fail(                                                                         \
          __FILE__, __LINE__,                                                                      \
          #got " is " + std::to_string(tandem_got) + ", expected " + std::to_string(tandem_want)); \
  } while (false)

#define CHECK_THROWS(expression)                                                              \
  do {                                                                                        \
    bool tandem_threw = false;                                                                \
    try {                                                                                     \
      static_cast<void>(expression);                                                          \
    } catch (const std::exception&) {                                                         \
      tandem_threw = true;                                                                    \
    }                                                                                         \
    if (!tandem_threw)                                                                        \
      tandem::check::fail(__FILE__, __LINE__, "CHECK_THROWS(" #expression ") did not throw"); \
  } while (false)
