// Speed of the single-precision matrix product against the FMA roof of this machine.
//   gemm_bench [scalar|avx2|avx512] [threads]
// Prints one JSON line per shape; times are the least of many runs and include packing.
#include "cpu/gemm.h"

#include <immintrin.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <thread>
#include <vector>

TANDEM_GEMM_DECLARE(isa_scalar)
TANDEM_GEMM_DECLARE(isa_avx2)
TANDEM_GEMM_DECLARE(isa_avx512)

namespace {

using namespace tandem::cpu;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct Isa {
  const char* name;
  GemmPlan (*plan)(const GemmDesc&);
  void (*pack)(const GemmPlan&, const void*, void*, int64_t);
  void (*compute)(const GemmPlan&, const void*, const void*, void*, const GemmEpilogue&, int64_t,
                  void*);
  double (*fma_flops)(int64_t rounds);  // runs rounds of independent FMAs, returns their flops
};

__attribute__((target("avx512f"))) double fma_avx512(int64_t rounds) {
  __m512 acc[12];
  for (auto& v : acc) v = _mm512_set1_ps(0.5f);
  const __m512 x = _mm512_set1_ps(0.999f);
  for (int64_t i = 0; i < rounds; ++i)
#pragma GCC unroll 12
    for (auto& v : acc) {
      v = _mm512_fmadd_ps(v, x, x);
      __asm__ volatile("" : "+v"(v));
    }
  return static_cast<double>(rounds) * 12 * 32;
}

__attribute__((target("avx2,fma"))) double fma_avx2(int64_t rounds) {
  __m256 acc[12];
  for (auto& v : acc) v = _mm256_set1_ps(0.5f);
  const __m256 x = _mm256_set1_ps(0.999f);
  for (int64_t i = 0; i < rounds; ++i)
#pragma GCC unroll 12
    for (auto& v : acc) {
      v = _mm256_fmadd_ps(v, x, x);
      __asm__ volatile("" : "+x"(v));
    }
  return static_cast<double>(rounds) * 12 * 16;
}

double fma_scalar(int64_t rounds) {
  __m128 acc[12];
  for (auto& v : acc) v = _mm_set1_ps(0.5f);
  const __m128 x = _mm_set1_ps(0.999f);
  for (int64_t i = 0; i < rounds; ++i)
#pragma GCC unroll 12
    for (auto& v : acc) {
      v = _mm_add_ps(_mm_mul_ps(v, x), x);
      __asm__ volatile("" : "+x"(v));
    }
  return static_cast<double>(rounds) * 12 * 8;
}

const Isa isas[] = {
    {"avx512", isa_avx512::plan_gemm, isa_avx512::gemm_pack_b, isa_avx512::gemm_compute,
     fma_avx512},
    {"avx2", isa_avx2::plan_gemm, isa_avx2::gemm_pack_b, isa_avx2::gemm_compute, fma_avx2},
    {"scalar", isa_scalar::plan_gemm, isa_scalar::gemm_pack_b, isa_scalar::gemm_compute,
     fma_scalar},
};

// Threads that spin between jobs; every job is a function of the thread's index.
class Team {
 public:
  explicit Team(int count) : count_(count) {
    for (int i = 1; i < count; ++i)
      threads_.emplace_back([this, i] {
        for (int seen = 0;;) {
          while (round_.load(std::memory_order_acquire) == seen) _mm_pause();
          ++seen;
          if (!job_) return;
          (*job_)(i);
          left_.fetch_sub(1, std::memory_order_acq_rel);
        }
      });
  }
  ~Team() {
    job_ = nullptr;
    round_.fetch_add(1, std::memory_order_release);
    for (auto& t : threads_) t.join();
  }
  void run(const std::function<void(int)>& job) {
    job_ = &job;
    left_.store(count_ - 1, std::memory_order_relaxed);
    round_.fetch_add(1, std::memory_order_release);
    job(0);
    while (left_.load(std::memory_order_acquire)) _mm_pause();
  }
  // All threads of a job meet here.
  void meet() {
    const int mine = met_.fetch_add(1, std::memory_order_acq_rel) / count_;
    while (met_.load(std::memory_order_acquire) < (mine + 1) * count_) _mm_pause();
  }
  int count() const { return count_; }

 private:
  int count_;
  std::vector<std::thread> threads_;
  std::atomic<int> round_{0}, left_{0}, met_{0};
  const std::function<void(int)>* job_ = nullptr;
};

struct Buffer {
  explicit Buffer(int64_t floats)
      : data(static_cast<float*>(
            std::aligned_alloc(64, static_cast<size_t>((floats * 4 + 127) / 64 * 64)))) {
    for (int64_t i = 0; i < floats; ++i) data[i] = static_cast<float>(i % 17) * 0.1f - 0.8f;
  }
  ~Buffer() { std::free(data); }
  Buffer(const Buffer&) = delete;
  float* data;
};

struct Product {
  GemmPlan plan;
  Buffer a, b, c, packed, bias;
  GemmEpilogue epilogue = {};
  std::atomic<int64_t> next_pack{0}, next_tile{0};

  // Forms: N rows as they are, T transposed; the first letter is A's.
  Product(const Isa& isa, int64_t m, int64_t n, int64_t k, const char* form, bool frozen, bool relu)
      : plan(isa.plan(describe(m, n, k, form, frozen))),
        a(m * k),
        b(k * n),
        c(m * n),
        packed(plan.packed_b_bytes / 4),
        bias(n) {
    if (relu) {
      epilogue.bias = bias.data;
      epilogue.activation = GEMM_ACT_RELU;
    }
    if (frozen)
      for (int64_t i = 0; i < plan.pack_tiles; ++i) isa.pack(plan, b.data, packed.data, i);
  }
  static GemmDesc describe(int64_t m, int64_t n, int64_t k, const char* form, bool frozen) {
    GemmDesc d = {};
    d.m = m, d.n = n, d.k = k;
    d.a_row = form[0] == 'N' ? k : 1;
    d.a_col = form[0] == 'N' ? 1 : m;
    d.b_row = form[1] == 'N' ? n : 1;
    d.b_col = form[1] == 'N' ? 1 : k;
    d.c_row = n;
    d.batch[0] = d.batch[1] = 1;
    d.b_packed = frozen;
    return d;
  }
  double flops() const {
    return 2.0 * static_cast<double>(plan.desc.m) * static_cast<double>(plan.desc.n) *
           static_cast<double>(plan.desc.k);
  }
};

struct Bench {
  const Isa& isa;
  Team& team;
  std::vector<Buffer*> scratch;
  double roof;  // of all threads together

  void work(Product& p, int thread) {
    if (p.plan.pack_tiles && !p.plan.desc.b_packed) {
      for (int64_t i; (i = p.next_pack.fetch_add(1)) < p.plan.pack_tiles;)
        isa.pack(p.plan, p.b.data, p.packed.data, i);
      if (team.count() > 1) team.meet();
    }
    const float* b = p.plan.source == GEMM_B_PACKED ? p.packed.data : p.b.data;
    if (p.plan.compute_tiles == 1) {
      if (thread == 0) isa.compute(p.plan, p.a.data, b, p.c.data, p.epilogue, 0, scratch[0]->data);
    } else {
      for (int64_t i; (i = p.next_tile.fetch_add(1)) < p.plan.compute_tiles;)
        isa.compute(p.plan, p.a.data, b, p.c.data, p.epilogue, i,
                    scratch[static_cast<size_t>(thread)]->data);
    }
    if (team.count() > 1) team.meet();
  }

  void measure(const char* name, std::vector<Product*> products) {
    double flops = 0;
    for (const Product* p : products) flops += p->flops();
    for (Buffer*& s : scratch) {
      int64_t need = 0;
      for (const Product* p : products)
        need = p->plan.scratch_bytes > need ? p->plan.scratch_bytes : need;
      delete s;
      s = new Buffer(need / 4);
    }
    const int inner = flops < 1e6 ? 50 : 1;
    double best = 1e9;
    const double end = now() + 0.4;
    const std::function<void(int)> job = [&](int thread) {
      for (int r = 0; r < inner; ++r)
        for (Product* p : products) {
          work(*p, thread);
          // Safe without a barrier for one thread only; several reset between jobs.
          if (team.count() == 1) p->next_pack = p->next_tile = 0;
        }
    };
    const int jobs = team.count() == 1 ? 1 : inner;
    const int saved = jobs;
    do {
      const double start = now();
      if (saved == 1) {
        for (Product* p : products) p->next_pack = p->next_tile = 0;
        team.run(job);
      } else {
        // Tiny products with a team: one dispatch each.
        const std::function<void(int)> once = [&](int thread) {
          for (Product* p : products) work(*p, thread);
        };
        for (int r = 0; r < jobs; ++r) {
          for (Product* p : products) p->next_pack = p->next_tile = 0;
          team.run(once);
        }
      }
      const double time = (now() - start) / inner;
      best = time < best ? time : best;
    } while (now() < end);
    std::printf(
        "{\"isa\":\"%s\",\"threads\":%d,\"shape\":\"%s\",\"us\":%.2f,\"gflops\":%.1f,"
        "\"roof\":%.3f}\n",
        isa.name, team.count(), name, best * 1e6, flops / best * 1e-9, flops / best / roof);
    std::fflush(stdout);
  }

  void one(int64_t m, int64_t n, int64_t k, const char* form, bool frozen = false,
           bool relu = false) {
    Product p(isa, m, n, k, form, frozen, relu);
    char name[128];
    std::snprintf(name, sizeof name, "%lldx%lldx%lld %s%s%s", static_cast<long long>(m),
                  static_cast<long long>(n), static_cast<long long>(k), form,
                  frozen ? " frozen" : "", relu ? " bias relu" : "");
    measure(name, {&p});
  }

  // The products of one training step of a multi-layer perceptron.
  void mlp(const char* name, std::vector<int64_t> sizes, int64_t rows, bool train, bool frozen) {
    std::vector<Product*> all;
    for (size_t i = 0; i + 1 < sizes.size(); ++i)
      all.push_back(new Product(isa, rows, sizes[i + 1], sizes[i], "NT", frozen, true));
    for (size_t i = sizes.size() - 1; train && i > 0; --i) {
      all.push_back(new Product(isa, sizes[i], sizes[i - 1], rows, "TN", false, false));
      if (i > 1) all.push_back(new Product(isa, rows, sizes[i - 1], sizes[i], "NN", false, false));
    }
    measure(name, all);
    for (Product* p : all) delete p;
  }
};

}  // namespace

int main(int argc, char** argv) {
  const char* wanted = argc > 1 ? argv[1] : "avx512";
  const int threads = argc > 2 ? std::atoi(argv[2]) : 1;
  for (const Isa& isa : isas) {
    if (std::strcmp(isa.name, wanted) != 0) continue;
    Team team(threads);
    Bench bench{isa, team, {}, 0};
    for (int i = 0; i < threads; ++i) bench.scratch.push_back(nullptr);
    // Short rounds that each thread times for itself fit between the interruptions of a busy
    // machine.
    std::vector<double> best(static_cast<size_t>(threads));
    team.run([&](int t) {
      double& rate = best[static_cast<size_t>(t)];
      for (int i = 0; i < 600; ++i) {
        const double start = now(), flops = isa.fma_flops(100000), mine = flops / (now() - start);
        rate = mine > rate ? mine : rate;
      }
    });
    for (double rate : best) bench.roof += rate;
    std::printf("{\"isa\":\"%s\",\"threads\":%d,\"roof_gflops\":%.1f}\n", isa.name, threads,
                bench.roof * 1e-9);
    for (int64_t s : {64, 128, 256, 384, 512, 768, 1024}) bench.one(s, s, s, "NN");
    bench.one(512, 512, 512, "NT");
    bench.one(512, 512, 512, "TN");
    bench.one(1024, 1024, 1024, "NT");
    bench.one(1024, 1024, 1024, "TN");
    bench.one(512, 3072, 768, "NT", false, true);
    bench.one(128, 512, 784, "NT", false, true);
    bench.one(128, 512, 784, "NT", true, true);
    bench.one(128, 256, 512, "NT", false, true);
    bench.one(128, 10, 256, "NT", false, true);
    bench.one(512, 784, 128, "TN");
    bench.one(256, 512, 128, "TN");
    bench.one(10, 256, 128, "TN");
    bench.one(128, 512, 256, "NN");
    bench.one(128, 256, 10, "NN");
    for (int64_t m : {1, 2, 4, 8, 12, 16, 24, 32, 64}) bench.one(m, 512, 784, "NT");
    for (int64_t m : {1, 2, 4, 8}) bench.one(m, 512, 784, "NT", true);
    for (int64_t m : {1, 2, 4, 8, 14, 16}) bench.one(m, 512, 784, "NN");
    bench.one(32, 64, 30, "NT", false, true);
    bench.one(32, 30, 64, "NN");
    bench.one(32, 32, 64, "NT", false, true);
    bench.one(32, 2, 32, "NT", false, true);
    bench.one(64, 30, 32, "TN");
    bench.one(1, 64, 30, "NT", false, true);
    bench.mlp("mlp 784-512-256-10 train 128", {784, 512, 256, 10}, 128, true, false);
    for (int64_t rows : {1, 128, 256}) {
      char name[64];
      std::snprintf(name, sizeof name, "mlp 784-512-256-10 forward %d", static_cast<int>(rows));
      bench.mlp(name, {784, 512, 256, 10}, rows, false, false);
      std::snprintf(name, sizeof name, "mlp 784-512-256-10 frozen %d", static_cast<int>(rows));
      bench.mlp(name, {784, 512, 256, 10}, rows, false, true);
    }
    bench.mlp("mlp 30-64-32-2 train 32", {30, 64, 32, 2}, 32, true, false);
    bench.mlp("mlp 30-64-32-2 forward 32", {30, 64, 32, 2}, 32, false, false);
    bench.mlp("mlp 30-64-32-2 forward 1", {30, 64, 32, 2}, 1, false, false);
    bench.mlp("mlp 30-64-32-2 frozen 1", {30, 64, 32, 2}, 1, false, true);
  }
  return 0;
}
