#include "cuda/measure.h"

#include <algorithm>
#include <limits>

#include "core/error.h"
#include "cuda/byte_product.h"
#include "cuda/check.h"
#include "cuda/float_product.h"
#include "cuda/handles.h"
#include "cuda/recording.h"

namespace tandem::cuda {
namespace {

constexpr double kNoMemory = std::numeric_limits<double>::infinity();

/// Pieces of one allocation, each aligned to 256 bytes.
class Scratch {
 public:
  void* take(int64_t bytes) {
    const int64_t at = bytes_;
    bytes_ += (bytes + 255) / 256 * 256;
    return base_ == nullptr ? nullptr : base_ + at;
  }
  bool allocate() {
    void* data = nullptr;
    if (cudaMalloc(&data, static_cast<size_t>(std::max<int64_t>(bytes_, 256))) != cudaSuccess) {
      static_cast<void>(cudaGetLastError());
      return false;
    }
    base_ = static_cast<std::byte*>(data);
    // small numbers that are not zero, whether read as float or as bfloat16: multiplying zeros
    // would take less power, and so less time
    const cudaError_t status = cudaMemset(data, 0x3c, static_cast<size_t>(bytes_));
    bytes_ = 0;
    return status == cudaSuccess && cudaStreamSynchronize(nullptr) == cudaSuccess;
  }
  Scratch() = default;
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() {
    if (base_ != nullptr) static_cast<void>(cudaFree(base_));
  }

 private:
  std::byte* base_ = nullptr;
  int64_t bytes_ = 0;
};

int64_t span(int64_t matrix, int64_t batch, int64_t step) { return matrix + (batch - 1) * step; }

ProductOperands place(Scratch& scratch, const Product& p, int64_t workspace) {
  const int64_t in_bytes = factor_bytes(p.type);
  ProductOperands o;
  const auto matrix = [](int64_t rows, int64_t columns, int64_t along) {
    return rows * std::max(columns, along);
  };
  const int64_t a = p.trans_a ? matrix(p.k, p.m, p.a_row) : matrix(p.m, p.k, p.a_row);
  const int64_t b = p.trans_b ? matrix(p.n, p.k, p.b_row) : matrix(p.k, p.n, p.b_row);
  o.a = scratch.take(span(a, p.batch, p.a_step) * in_bytes);
  o.b = scratch.take(span(b, p.batch, p.b_step) * in_bytes);
  o.y = scratch.take(span(matrix(p.m, p.n, p.y_row), p.batch, p.y_step) * 4);
  o.bias = static_cast<const float*>(scratch.take(p.n * 4));
  o.saved = static_cast<float*>(scratch.take(p.m * p.n * 4));
  o.workspace = scratch.take(workspace);
  return o;
}

/// The operands of a product of bytes; returns its workspace.
std::byte* place(Scratch& scratch, ByteProduct& p, const ByteShape& shape, int64_t workspace) {
  p.x = static_cast<const uint8_t*>(scratch.take(shape.m * shape.k));
  p.w = static_cast<const int8_t*>(scratch.take(shape.n * shape.k));
  p.result.weight_sums = static_cast<const int32_t*>(scratch.take(shape.n * 4));
  p.result.scales = static_cast<const float*>(scratch.take(shape.n * 4));
  p.result.y = scratch.take(shape.m * shape.n * (shape.to_bytes ? 1 : 4));
  p.result.columns = shape.n;
  p.result.to_bytes = shape.to_bytes;
  p.result.activation = -1;
  p.result.inverse = 1.0F;
  return static_cast<std::byte*>(scratch.take(workspace));
}

/// A stream of its own, and how long it takes for what is put on it.
class Stopwatch {
 public:
  /// Runs once, which may take longer than later runs; false where it fails.
  template <typename Run>
  [[nodiscard]] bool warm_up(const Run& run) const {
    if (run(stream()) && cudaStreamSynchronize(stream()) == cudaSuccess) return true;
    static_cast<void>(cudaGetLastError());
    return false;
  }
  /// Milliseconds of what `submit()` puts on the stream, or a negative number where it says false.
  template <typename Submit>
  [[nodiscard]] double time(const Submit& submit) const {
    check(cudaEventRecord(begin_.get(), stream()), "a measurement");
    if (!submit()) return -1;
    check(cudaEventRecord(end_.get(), stream()), "a measurement");
    check(cudaEventSynchronize(end_.get()), "a measurement");
    float ms = 0;
    check(cudaEventElapsedTime(&ms, begin_.get(), end_.get()), "a measurement");
    return static_cast<double>(ms);
  }
  [[nodiscard]] cudaStream_t stream() const { return stream_.get(); }

 private:
  Stream stream_{StreamPriority::kNormal};
  Event begin_;
  Event end_;
};

template <typename Run>
bool repeat(int times, const Run& run, cudaStream_t stream) {
  for (int i = 0; i < times; ++i) {
    if (!run(stream)) return false;
  }
  return true;
}

/// Milliseconds of `run(stream)`, or a negative number where it fails.
template <typename Run>
double time_of(const Run& run) {
  constexpr int kRuns = 5;
  const Stopwatch watch;
  if (!watch.warm_up(run)) return -1;
  return watch.time([&] { return repeat(kRuns, run, watch.stream()); }) / kRuns;
}

/// The same of what steps do: they replay a graph, in which nothing waits for the host. Runs that
/// take long need no repetition.
template <typename Run>
double time_recorded(const Run& run) {
  constexpr int kRuns = 10;
  constexpr int kMostReplays = 3;
  constexpr double kLong = 1;  // milliseconds
  const Stopwatch watch;
  if (!watch.warm_up(run)) return -1;
  Recording recording(watch.stream());
  if (!repeat(kRuns, run, watch.stream())) return -1;
  GraphExec graph;
  try {
    graph = recording.finish();
  } catch (const Error&) {
    return -1;
  }
  double best = -1;
  for (int i = 0; i < kMostReplays && best < kLong; ++i) {
    const double one = watch.time([&] {
      check(cudaGraphLaunch(graph.get(), watch.stream()), "a measurement");
      return true;
    }) / kRuns;
    if (best < 0 || one < best) best = one;
  }
  return best;
}

}  // namespace

double measure_product(lt::Handle handle, ProductDescription& description, const Product& product,
                       const lt::HeuristicResult& candidate) {
  const auto workspace = static_cast<int64_t>(candidate.workspace_bytes);
  Scratch scratch;
  static_cast<void>(place(scratch, product, workspace));
  if (!scratch.allocate()) return kNoMemory;
  const ProductOperands operands = place(scratch, product, workspace);
  return time_recorded([&](cudaStream_t stream) {
    return description.run(handle, operands, candidate.algorithm, workspace, stream) ==
           lt::kSuccess;
  });
}

double measure_floats(const Product& product, FloatWay way) {
  Scratch scratch;
  static_cast<void>(place(scratch, product, 0));
  if (!scratch.allocate()) return kNoMemory;
  const ProductOperands operands = place(scratch, product, 0);
  return time_recorded([&](cudaStream_t stream) {
    try {
      launch_float_product(product, operands, way, stream);
      return true;
    } catch (const Error&) {
      return false;  // others remain
    }
  });
}

double measure_bytes(ProductRunner& products, const ByteShape& shape, ByteWay way) {
  const NodeView node{};
  ByteProduct product{};
  product.m = shape.m;
  product.n = shape.n;
  product.k = shape.k;
  product.source = ByteSource::kRows;
  int64_t workspace = 0;
  try {
    Launch measured(node, products);
    launch_byte_way(measured, product, way);
    workspace = measured.workspace_bytes();
  } catch (const Error&) {
    return -1;  // cuBLASLt or the device does not have it
  }
  Scratch scratch;
  static_cast<void>(place(scratch, product, shape, workspace));
  if (!scratch.allocate()) return kNoMemory;
  const Operands operands{{}, {}, place(scratch, product, shape, workspace), nullptr};
  return time_of([&](cudaStream_t stream) {
    try {
      Launch launch(node, products, operands, stream);
      launch_byte_way(launch, product, way);
      return true;
    } catch (const Error&) {
      return false;  // other ways remain
    }
  });
}

}  // namespace tandem::cuda
