// Matrix products by cuBLASLt: what a product is, its descriptors, and which of the library's
// algorithms, or kernel of our own, computes it. Knows no CUDA: streams and device memory are
// pointers here, and whoever measures gives functions that do.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "cuda/host/cublaslt.h"
#include "cuda/host/float_ways.h"

namespace tandem::cuda {

/// How the numbers of a product are held and multiplied. All add up in 32 bits.
enum class ProductType : uint8_t {
  kFloat32,   ///< float32, or factors in two TF32 numbers each, with the error of float32
  kTf32,      ///< float32 whose products have 10 bits of mantissa
  kBfloat16,  ///< bfloat16 in, float32 out: `bf16-mixed`
  kFloat16,   ///< float16 in, float32 out: `fp16-mixed`
  kInt8,      ///< int8 in, int32 out; only a in rows and b in columns (`trans_b`)
};

/// Bytes of a number of the factors.
constexpr int64_t factor_bytes(ProductType type) {
  if (type == ProductType::kInt8) return 1;
  return type == ProductType::kBfloat16 || type == ProductType::kFloat16 ? 2 : 4;
}

enum class ProductEpilogue : uint8_t {
  kNone,
  kRelu,
  kGelu,
  kGeluSaving,
  kGeluGradient,
  kReluGradient,
};

/// Whether cuBLASLt may have it; the others only kernels of our own have. Its ReLU makes 0 of a
/// NaN, which shall be seen, and it knows the gradient of one by bits that its own has saved.
constexpr bool library_has(ProductEpilogue epilogue) {
  return epilogue != ProductEpilogue::kRelu && epilogue != ProductEpilogue::kReluGradient;
}

/// y[m, n] = epilogue(op(a) op(b) + bias), row-major, `batch` times with these steps in elements.
/// Compared and remembered as it is: plain data.
struct Product {
  ProductType type = ProductType::kFloat32;
  ProductEpilogue epilogue = ProductEpilogue::kNone;
  bool trans_a = false;  ///< a is [k, m]
  bool trans_b = false;  ///< b is [n, k]
  bool bias = false;     ///< n floats
  bool adds = false;     ///< to what y holds
  int64_t m = 0, n = 0, k = 0;
  int64_t batch = 1, a_step = 0, b_step = 0, y_step = 0;
  int64_t a_row = 0, b_row = 0,
          y_row = 0;  ///< elements from row to row where that is more than a row has

  // NOLINTNEXTLINE(modernize-use-nullptr): the check takes the comparison's own zero for a pointer
  auto operator<=>(const Product&) const = default;
};

/// Device memory of one product. `saved` is written by kGeluSaving, and read by kGeluGradient and,
/// what came out of the ReLU, by kReluGradient.
struct ProductOperands {
  const void* a = nullptr;
  const void* b = nullptr;
  void* y = nullptr;
  const float* bias = nullptr;
  float* saved = nullptr;
  void* workspace = nullptr;
};

/// What won for a product: a kernel of our own where `own` says how it cuts it, or an algorithm of
/// cuBLASLt. `found` is false where there is neither.
struct ProductChoice {
  lt::Algorithm algorithm{};
  int64_t workspace_bytes = 0;
  bool found = false;
  FloatWay own{};
  double ms = 0;  ///< measured; infinite where there was no memory to try any
};

/// The descriptors of one product, as long as this lives. Throws ERR_DEVICE, and ERR_SHAPE for more
/// matrices in a batch than cuBLASLt counts.
class ProductDescription {
 public:
  ProductDescription(const lt::Functions& lt, const Product& product);
  ProductDescription(const ProductDescription&) = delete;
  ProductDescription& operator=(const ProductDescription&) = delete;
  ~ProductDescription();

  /// Candidates in the order in which the library believes in them, none that needs more workspace
  /// or whose sums come in a different order from run to run.
  [[nodiscard]] std::vector<lt::HeuristicResult> candidates(lt::Handle handle, int most,
                                                            int64_t workspace_bytes) const;
  /// Puts the product on a stream, which may be recording.
  [[nodiscard]] lt::Status run(lt::Handle handle, const ProductOperands& operands,
                               const lt::Algorithm& algorithm, int64_t workspace_bytes,
                               lt::Stream stream);

 private:
  void make();
  void destroy() noexcept;
  void set(lt::DescAttribute attribute, const void* value, size_t bytes);
  /// `along`: elements from column to column, 0 where that is `rows`.
  lt::Layout make_layout(lt::DataType type, int64_t rows, int64_t columns, int64_t step,
                         int64_t along);

  const lt::Functions& lt_;
  Product product_;
  lt::Descriptor descriptor_ = nullptr;
  lt::Layout a_ = nullptr, b_ = nullptr, y_ = nullptr;  ///< as cuBLASLt sees them: b is its a
};

/// Milliseconds that a candidate takes for the product, a negative number where it fails, or
/// infinity where there is no memory to try it in.
using MeasureProduct =
    std::function<double(ProductDescription&, const Product&, const lt::HeuristicResult&)>;

/// The same of a way of our own.
using MeasureFloats = std::function<double(const Product&, FloatWay)>;

class ChoiceFile;

/// The best algorithm for each product, measured when it is first asked for, or taken from a file
/// where it is still offered; without memory to try any, the one that comes first. It stays the
/// same from then on: plans have made room for what it needs, and ask for it again while they are
/// recorded. Any thread may ask.
class ProductChoices {
 public:
  ProductChoices(const lt::Functions& lt, lt::Handle handle, MeasureProduct measure)
      : lt_(lt), handle_(handle), measure_(std::move(measure)) {}
  /// With the ways of our own that float_ways() finds for the device. `file` has to outlive it.
  ProductChoices(const lt::Functions& lt, lt::Handle handle, MeasureProduct measure,
                 FloatDevice device, MeasureFloats measure_floats, ChoiceFile* file = nullptr)
      : lt_(lt),
        handle_(handle),
        measure_(std::move(measure)),
        device_(device),
        measure_floats_(std::move(measure_floats)),
        file_(file) {}

  /// Not found where nothing computes it, as for some epilogues.
  ProductChoice choose(const Product& product);
  /// The ways of our own that are tried for a product.
  [[nodiscard]] std::vector<FloatWay> ways(const Product& product) const {
    return float_ways(product, device_);
  }
  /// Products measured so far.
  [[nodiscard]] size_t size() const;

  /// As NVIDIA recommends for Hopper; no device needs more to be fast.
  static constexpr int64_t kMaxWorkspace = int64_t{32} << 20;
  static constexpr int kCandidates = 16;

 private:
  using Offered = std::vector<lt::HeuristicResult>;

  ProductChoice find(const Product& product);
  /// What the file has, if it is among what is offered; else not found.
  [[nodiscard]] ProductChoice kept(const Product& product, const Offered& offered) const;

  const lt::Functions& lt_;
  lt::Handle handle_;
  MeasureProduct measure_;
  FloatDevice device_{};
  MeasureFloats measure_floats_;
  ChoiceFile* file_ = nullptr;
  mutable std::mutex mutex_;
  std::map<Product, ProductChoice> choices_;
};

}  // namespace tandem::cuda
