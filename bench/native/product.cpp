// Our side of a product: the tiles of cpu/gemm.h taken from a counter by the threads of the pool,
// as the executable does it for a step of a plan.
#include "product.h"

#include <atomic>
#include <memory>

#include "cpu/pool.h"
#include "cpu/scratch.h"
#include "isa_table.h"
#include "suite.h"

namespace tandem::bench {
namespace {

cpu::GemmDesc describe(const Product& product, const std::string& type) {
  cpu::GemmDesc desc{};
  if (type == "bf16") {
    desc.type = cpu::GEMM_BF16;
    desc.c_type = cpu::GEMM_TO_BF16;
  } else if (type == "s8") {
    desc.type = cpu::GEMM_S8;
    desc.c_type = cpu::GEMM_TO_U8;
  }
  desc.m = product.m;
  desc.n = product.n;
  desc.k = product.k;
  desc.a_row = product.trans_a ? 1 : product.k;
  desc.a_col = product.trans_a ? product.m : 1;
  desc.b_row = product.trans_b ? 1 : product.n;
  desc.b_col = product.trans_b ? product.k : 1;
  desc.c_row = product.n;
  desc.batch[0] = desc.batch[1] = 1;
  desc.b_packed = product.packed;
  return desc;
}

class OurProduct {
 public:
  OurProduct(const Product& product, const std::string& type, int threads)
      : isa_(isa_table()),
        plan_(isa_.plan_gemm(describe(product, type))),
        a_(noise(product.m * product.k, elements_of(type).a)),
        b_(noise(product.k * product.n, elements_of(type).b)),
        c_(noise(product.m * product.n, elements_of(type).c)),
        bias_(noise(product.n)),
        scale_(noise(product.n)),
        packed_(cpu_backend().allocate(plan_.packed_b_bytes)),
        threads_(plan_.compute_tiles > 1 || packs(product) ? threads : 1),
        packs_(packs(product)) {
    if (product.bias_relu) {
      epilogue_.bias = floats(bias_);
      epilogue_.activation = cpu::GEMM_ACT_RELU;
    }
    if (type == "s8") {
      epilogue_.scale = floats(scale_);
      epilogue_.c_inverse = 1.0F / static_cast<float>(product.k);
    }
    if (product.packed) {
      for (int64_t tile = 0; tile < plan_.pack_tiles; ++tile)
        isa_.gemm_pack_b(plan_, b_.data.get(), packed_.data.get(), tile);
    }
  }

  void run(int64_t calls) {
    for (int64_t i = 0; i < calls; ++i) {
      next_pack_.store(0, std::memory_order_relaxed);
      next_tile_.store(0, std::memory_order_relaxed);
      cpu::Pool::instance().run(
          threads_,
          [](void* self, int worker, int workers) {
            static_cast<OurProduct*>(self)->work(worker, workers);
          },
          this);
    }
  }

 private:
  [[nodiscard]] bool packs(const Product& product) const {
    return plan_.pack_tiles > 0 && !product.packed;
  }

  void work(int worker, int workers) {
    if (packs_) {
      for_tiles(next_pack_, plan_.pack_tiles, worker, [&](int64_t tile) {
        isa_.gemm_pack_b(plan_, b_.data.get(), packed_.data.get(), tile);
      });
      if (workers > 1) barrier_.wait(workers);
    }
    void* scratch = cpu::thread_scratch(plan_.scratch_bytes);
    const Memory& b = plan_.source == cpu::GEMM_B_PACKED ? packed_ : b_;
    for_tiles(next_tile_, plan_.compute_tiles, worker, [&](int64_t tile) {
      isa_.gemm_compute(plan_, a_.data.get(), b.data.get(), c_.data.get(), epilogue_, tile,
                        scratch);
    });
  }

  /// A step of a single tile is the caller's.
  template <typename Tile>
  static void for_tiles(std::atomic<int64_t>& next, int64_t tiles, int worker, Tile tile) {
    if (tiles == 1) {
      if (worker == 0) tile(0);
      return;
    }
    for (int64_t i = next.fetch_add(1, std::memory_order_relaxed); i < tiles;
         i = next.fetch_add(1, std::memory_order_relaxed))
      tile(i);
  }

  const IsaTable& isa_;
  cpu::GemmPlan plan_;
  cpu::GemmEpilogue epilogue_{};
  Memory a_, b_, c_, bias_, scale_, packed_;
  int threads_;
  bool packs_;
  cpu::Barrier barrier_;
  alignas(64) std::atomic<int64_t> next_pack_{0};
  alignas(64) std::atomic<int64_t> next_tile_{0};
};

}  // namespace

std::string Product::name() const {
  std::string text = std::to_string(m) + "x" + std::to_string(n) + "x" + std::to_string(k) + " " +
                     (trans_a ? "T" : "N") + (trans_b ? "T" : "N");
  if (packed) text += " packed";
  if (bias_relu) text += " bias+relu";
  return text;
}

Elements elements_of(const std::string& type) {
  if (type == "bf16") return {Element::kBf16, Element::kBf16, Element::kBf16};
  if (type == "s8") return {Element::kU8, Element::kS8, Element::kU8};
  return {Element::kF32, Element::kF32, Element::kF32};
}

Side our_product(const Product& product, const std::string& type, int threads) {
  auto ours = std::make_shared<OurProduct>(product, type, threads);
  return {"ours", product.operations(), [=](int64_t calls) { ours->run(calls); }};
}

}  // namespace tandem::bench
