// The table of matrix products, all through the public functions of cpu/gemm.h.
#include <utility>

#include "product.h"
#include "roofs.h"
#include "suite.h"

namespace tandem::bench {
namespace {

constexpr int64_t kPerceptron[] = {784, 512, 256, 10};
constexpr int kLayers = 3;

struct Entry {
  Product product;
  bool quick;  ///< measured in quick runs, too
};

void add_squares(std::vector<Entry>& all) {
  for (const int64_t s : {64, 128, 256, 384, 512, 768, 1024}) {
    const bool quick = s == 64 || s == 256 || s == 512 || s == 1024;
    all.push_back({{s, s, s}, quick});
    if (s < 256 || s == 384 || s == 768) continue;
    all.push_back({{s, s, s, false, true}, s == 512});
    all.push_back({{s, s, s, true, false}, s == 512});
    all.push_back({{s, s, s, false, true, true}, s == 512});
  }
}

/// Attention's products of one head of 64 positions and depth 32, and the layers of a block of
/// width 384 at 128 positions.
void add_transformer(std::vector<Entry>& all) {
  all.push_back({{64, 32, 64}, true});
  all.push_back({{64, 64, 32, false, true}, true});
  for (const bool packed : {false, true}) {
    all.push_back({{128, 384, 384, false, true, packed}, packed});
    all.push_back({{128, 1536, 384, false, true, packed}, packed});
    all.push_back({{128, 384, 1536, false, true, packed}, packed});
  }
  all.push_back({{384, 384, 128, true, false}, false});
  all.push_back({{1536, 384, 128, true, false}, false});
  all.push_back({{128, 384, 1536}, false});
}

/// Forward with constant and with changing weights, the gradients of weights and of inputs.
void add_perceptron(std::vector<Entry>& all) {
  for (const int64_t rows : {1, 8, 128, 256, 1024}) {
    const bool quick = rows == 1 || rows == 128;
    for (int i = 0; i < kLayers; ++i) {
      const int64_t in = kPerceptron[i];
      const int64_t out = kPerceptron[i + 1];
      all.push_back({{rows, out, in, false, true, true, true}, quick});
      all.push_back({{rows, out, in, false, true, false, true}, quick && i == 0});
      all.push_back({{out, in, rows, true, false}, rows == 128});
      if (i > 0) all.push_back({{rows, in, out}, rows == 128});
    }
  }
}

void add_tails(std::vector<Entry>& all) {
  all.push_back({{256, 10, 256}, true});
  all.push_back({{256, 65, 256}, true});
  all.push_back({{65, 65, 65}, true});
  all.push_back({{127, 255, 511}, true});
  all.push_back({{513, 513, 513}, false});
}

std::vector<Entry> table() {
  std::vector<Entry> all;
  add_squares(all);
  add_transformer(all);
  add_perceptron(all);
  add_tails(all);
  return all;
}

/// The products of a training step of feed-forward parts 128 and 384 wide: forward, the gradients
/// of inputs and of weights.
std::vector<Entry> training_table() {
  std::vector<Entry> all;
  for (const auto& [rows, width] : {std::pair<int64_t, int64_t>{768, 128}, {2048, 384}}) {
    for (const auto& [in, out] :
         {std::pair{width, 4 * width}, {4 * width, width}, {width, 3 * width}, {width, width}}) {
      const bool quick = width == 128;
      all.push_back({{rows, out, in, false, true}, quick});
      all.push_back({{rows, in, out}, quick});
      all.push_back({{out, in, rows, true, false}, quick});
    }
  }
  return all;
}

std::vector<Entry> table_of(const std::string& type) {
  if (type == "mixed") return training_table();
  std::vector<Entry> all = table();
  if (type != "f32") return all;
  for (const Entry& entry : training_table()) all.push_back(entry);
  return all;
}

void measure_product(const Suite& suite, const Case& c, const Product& product) {
  std::vector<Side> sides{our_product(product, c.type, c.threads)};
  if (auto side = peak(c.type == "mixed" ? "bf16" : c.type, c.threads))
    sides.push_back(std::move(*side));
  if (auto side = onednn_product(product, c.type, c.threads)) sides.push_back(std::move(*side));
  if (auto side = openblas_product(product, c.type, c.threads)) sides.push_back(std::move(*side));
  suite.measure(c, sides);
}

/// The smaller types are for inference, where nothing multiplies by a transposed A, and a quick run
/// looks at the most important shapes of them.
bool fits(const Suite& suite, const Entry& entry, const std::string& type) {
  const Product& p = entry.product;
  if (type == "f32" || type == "mixed") return entry.quick || !suite.options().quick;
  if (p.trans_a) return false;
  return !suite.options().quick || (entry.quick && (p.packed || (p.m == p.n && p.n == p.k)));
}

}  // namespace

void run_products(const Suite& suite) {
  for (const std::string type : {"f32", "bf16", "mixed", "s8"}) {
    for (const Entry& entry : table_of(type)) {
      if (!fits(suite, entry, type)) continue;
      for (const int threads : suite.options().threads) {
        const Case c{"product", entry.product.name(), type, threads, unit_of(type)};
        if (suite.wants(c)) measure_product(suite, c, entry.product);
      }
    }
  }
}

}  // namespace tandem::bench
