// Our side of a product: the tiles of cpu/gemm.h as the executable runs them for a node of a plan.
#include "product.h"

#include <memory>
#include <optional>
#include <vector>

#include "cpu/pool.h"
#include "cpu/schedule.h"
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
  } else if (type == "mixed") {
    desc.type = cpu::GEMM_BF16;
    desc.from_float = true;
  } else if (type == "s8") {
    desc.type = cpu::GEMM_S8;
    desc.c_type = cpu::GEMM_TO_U8;
  }
  desc.pack_a_first = product.m * product.k > 16 * 1024;
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
        packed_(pages(plan_.packed_b_bytes)),
        packed_a_(pages(plan_.packed_a_bytes)),
        threads_(threads),
        b_tiles_(product.packed ? 0 : plan_.pack_tiles),
        pack_tiles_(b_tiles_ + plan_.pack_a_tiles) {
    if (threads > 1 && (plan_.compute_tiles > 1 || pack_tiles_ > 0))
      queue_.emplace(units(), threads);
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
      if (queue_) {
        queue_->reset();
        cpu::Pool::instance().run(
            threads_, cpu::Pool::Length::kLong,
            [](void* self, int worker) { static_cast<OurProduct*>(self)->help(worker); }, this);
        continue;
      }
      void* scratch = cpu::thread_scratch(plan_.scratch_bytes);
      for (int64_t tile = 0; tile < pack_tiles_; ++tile) pack(tile);
      for (int64_t tile = 0; tile < plan_.compute_tiles; ++tile) compute(tile, scratch);
    }
  }

 private:
  /// Packing, where there is any, and the product after it.
  [[nodiscard]] std::vector<cpu::Unit> units() const {
    std::vector<cpu::Unit> all;
    if (pack_tiles_ > 0) all.push_back({0, 1, pack_tiles_, {}});
    all.push_back({1, 2, plan_.compute_tiles, {}});
    if (pack_tiles_ > 0) all.back().after.push_back(0);
    return all;
  }

  void help(int worker) {
    void* scratch = cpu::thread_scratch(plan_.scratch_bytes);
    queue_->work(worker, [&](const cpu::Unit& unit, int64_t tile) {
      if (unit.first == 0) {
        pack(tile);
      } else {
        compute(tile, scratch);
      }
    });
  }
  /// Tiles of A follow those of B.
  void pack(int64_t tile) {
    if (tile < b_tiles_) {
      isa_.gemm_pack_b(plan_, b_.data.get(), packed_.data.get(), tile);
    } else {
      isa_.gemm_pack_a(plan_, a_.data.get(), packed_a_.data.get(), tile - b_tiles_);
    }
  }
  void compute(int64_t tile, void* scratch) {
    const Memory& a = plan_.pack_a_tiles > 0 ? packed_a_ : a_;
    const Memory& b = plan_.source == cpu::GEMM_B_PACKED ? packed_ : b_;
    isa_.gemm_compute(plan_, a.data.get(), b.data.get(), c_.data.get(), epilogue_, tile, scratch);
  }

  const IsaTable& isa_;
  cpu::GemmPlan plan_;
  cpu::GemmEpilogue epilogue_{};
  Memory a_, b_, c_, bias_, scale_, packed_, packed_a_;
  int threads_;
  int64_t b_tiles_, pack_tiles_;
  std::optional<cpu::UnitQueue> queue_;  ///< none where one thread runs everything
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
