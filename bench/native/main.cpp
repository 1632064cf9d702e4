// The native benchmarks: JSON lines on standard output, the machine first, then the roofs, then a
// line for each case. See docs/performance.md.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <string>

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "core/error.h"
#include "cpu/pool.h"
#include "suite.h"
#include "threads.h"

namespace {

using tandem::bench::Options;

constexpr const char* kUsage =
    "usage: tandem_bench [--quick] [--filter TEXT] [--rounds N] [--threads N] [--isa NAME]\n";

/// The value of option `i`, which is the next argument.
const char* value_of(int argc, char** argv, int& i) {
  if (i + 1 >= argc)
    tandem::fail(tandem::ErrorCode::kArgument, std::string("expected a value after ") + argv[i]);
  return argv[++i];
}

int count_of(int argc, char** argv, int& i) {
  const char* const option = argv[i];
  const int count = std::atoi(value_of(argc, argv, i));
  if (count < 1) {
    std::string message = "expected 1 or more for ";
    tandem::fail(tandem::ErrorCode::kArgument, message + option);
  }
  return count;
}

Options parse(int argc, char** argv) {
  Options options;
  options.processors = tandem::cpu::available_processors();  // before threads are pinned
  options.threads = {1};
  if (options.processors > 1) options.threads.push_back(options.processors);
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--quick") == 0) {
      options.quick = true;
    } else if (std::strcmp(argv[i], "--filter") == 0) {
      options.filter = value_of(argc, argv, i);
    } else if (std::strcmp(argv[i], "--rounds") == 0) {
      options.rounds = count_of(argc, argv, i);
    } else if (std::strcmp(argv[i], "--threads") == 0) {
      options.threads = {count_of(argc, argv, i)};
    } else if (std::strcmp(argv[i], "--isa") == 0) {
      // before any thread is started and the library chooses: NOLINTNEXTLINE(concurrency-mt-unsafe)
      setenv("TANDEM_ISA", value_of(argc, argv, i), 1);
    } else {
      tandem::fail(tandem::ErrorCode::kArgument, std::string("unknown option ") + argv[i]);
    }
  }
  return options;
}

/// Cases in memory have hundreds of megabytes: what one gives back the next one gets, without the
/// system taking the pages away and zeroing others.
void keep_freed_memory() {
#ifdef __GLIBC__
  // before other threads allocate: NOLINTBEGIN(concurrency-mt-unsafe)
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, -1);
  // NOLINTEND(concurrency-mt-unsafe)
#endif
}

void run(const Options& options) {
  keep_freed_memory();
  tandem::bench::pin_new_threads();
  tandem::bench::print_machine(options);
  const tandem::bench::Suite suite(options);
  run_roofs(suite);
  run_products(suite);
  run_perceptrons(suite);
  run_convolutions(suite);
  run_elementwise(suite);
  run_chains(suite);
  run_softmax(suite);
  run_attention(suite);
  run_norms(suite);
  run_reductions(suite);
  run_recurrent(suite);
  run_optimizers(suite);
  run_pool(suite);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run(parse(argc, argv));
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n%s", error.what(), kUsage);
    return 1;
  }
}
