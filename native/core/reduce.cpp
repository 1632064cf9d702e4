#include "core/reduce.h"

#include <algorithm>

namespace tandem {
namespace {

class LocalReducer : public GradientReducer {
 public:
  [[nodiscard]] int ranks() const override { return 1; }
  void reduce(float* /*gradients*/, int64_t /*count*/) override {}
};

}  // namespace

std::vector<Bucket> make_buckets(const ParameterLayout& layout, int64_t bytes) {
  std::vector<int64_t> begins;  // of trainable parameters, in bytes
  for (const int64_t offset : layout.offsets) {
    if (offset < layout.trainable_bytes) begins.push_back(offset);
  }
  std::sort(begins.begin(), begins.end());
  begins.erase(std::unique(begins.begin(), begins.end()), begins.end());
  constexpr auto kFloat = static_cast<int64_t>(sizeof(float));
  std::vector<Bucket> buckets;
  int64_t end = layout.trainable_bytes;
  for (size_t i = begins.size(); i-- > 0;) {
    const bool fits = i > 0 && end - begins[i - 1] <= bytes;
    if (fits) continue;
    buckets.push_back({begins[i] / kFloat, (end - begins[i]) / kFloat});
    end = begins[i];
  }
  return buckets;
}

std::shared_ptr<GradientReducer> local_reducer() {
  static const auto reducer = std::make_shared<LocalReducer>();
  return reducer;
}

}  // namespace tandem
