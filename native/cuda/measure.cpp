#include "cuda/measure.h"

#include <algorithm>

#include "cuda/check.h"
#include "cuda/handles.h"

namespace tandem::cuda {
namespace {

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
    return status == cudaSuccess;
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
  const int64_t in_bytes = p.type == ProductType::kInt8       ? 1
                           : p.type == ProductType::kBfloat16 ? 2
                                                              : 4;
  ProductOperands o;
  o.a = scratch.take(span(p.m * p.k, p.batch, p.a_step) * in_bytes);
  o.b = scratch.take(span(p.k * p.n, p.batch, p.b_step) * in_bytes);
  o.y = scratch.take(span(p.m * p.n, p.batch, p.y_step) * 4);
  o.bias = static_cast<const float*>(scratch.take(p.n * 4));
  o.saved = static_cast<float*>(scratch.take(p.m * p.n * 4));
  o.workspace = scratch.take(workspace);
  return o;
}

}  // namespace

double measure_product(lt::Handle handle, ProductDescription& description, const Product& product,
                       const lt::HeuristicResult& candidate) {
  constexpr int kRuns = 5;
  const auto workspace = static_cast<int64_t>(candidate.workspace_bytes);
  Scratch scratch;
  static_cast<void>(place(scratch, product, workspace));
  if (!scratch.allocate()) return 0;
  const ProductOperands operands = place(scratch, product, workspace);
  const Stream stream(StreamPriority::kNormal);
  const Event begin;
  const Event end;
  const auto run = [&] {
    return description.run(handle, operands, candidate.algorithm, workspace, stream.get());
  };
  if (run() != lt::kSuccess || cudaStreamSynchronize(stream.get()) != cudaSuccess) {
    static_cast<void>(cudaGetLastError());
    return -1;
  }
  check(cudaEventRecord(begin.get(), stream.get()), "a measurement");
  for (int i = 0; i < kRuns; ++i) {
    if (run() != lt::kSuccess) return -1;
  }
  check(cudaEventRecord(end.get(), stream.get()), "a measurement");
  check(cudaEventSynchronize(end.get()), "a measurement");
  float ms = 0;
  check(cudaEventElapsedTime(&ms, begin.get(), end.get()), "a measurement");
  return static_cast<double>(ms) / kRuns;
}

}  // namespace tandem::cuda
