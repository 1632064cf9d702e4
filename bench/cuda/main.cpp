// Usage: tandem_cuda_bench [memory | attention | bytes | products | steps]
// What the CUDA backend reaches on this GPU, as one JSON document. Every number is the best of
// several measurements, of kernels that ran before, on random data.
#include <cuda_runtime.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "core/device_library.h"
#include "core/ops/attention.h"
#include "core/ops/optimizer.h"
#include "core/trainer.h"
#include "cuda/device.h"
#include "cuda/float_product.h"
#include "cuda/half_attention.h"
#include "cuda/handles.h"
#include "cuda/host/library_candidates.h"
#include "cuda/kernels.h"
#include "cuda/measure.h"

extern "C" const tandem::DeviceLibrary* tandem_device_library();

namespace tandem::cuda {
namespace {

/// Numbers by name, in the order in which they came.
class Report {
 public:
  void add(const std::string& name, double value) { values_.emplace_back(name, value); }
  void print(const std::string& device, int driver, size_t lt_version) const {
    std::printf(
        "{\n  \"device\": \"%s\",\n  \"driver\": %d,\n  \"cublasLt\": %zu,\n  \"results\": {",
        device.c_str(), driver, lt_version);
    for (size_t i = 0; i < values_.size(); ++i) {
      std::printf("%s\n    \"%s\": %.6g", i == 0 ? "" : ",", values_[i].first.c_str(),
                  values_[i].second);
    }
    std::printf("\n  }\n}\n");
  }

 private:
  std::vector<std::pair<std::string, double>> values_;
};

/// Milliseconds of `work` on a stream, the best of some runs.
double best_ms(const std::function<void(cudaStream_t)>& work) {
  constexpr int kRuns = 20;
  const Stream stream(StreamPriority::kNormal);
  const Event begin;
  const Event end;
  double best = 1e30;
  for (int i = 0; i < kRuns; ++i) {
    check(cudaEventRecord(begin.get(), stream.get()), "a measurement");
    work(stream.get());
    check(cudaEventRecord(end.get(), stream.get()), "a measurement");
    check(cudaEventSynchronize(end.get()), "a measurement");
    float ms = 0;
    check(cudaEventElapsedTime(&ms, begin.get(), end.get()), "a measurement");
    if (i > 2) best = std::min(best, static_cast<double>(ms));
  }
  return best;
}

/// Fills memory with random floats in [-1, 1).
void fill(const Memory& memory) {
  static const std::vector<float> numbers = [] {
    std::mt19937 engine(1);
    std::vector<float> all(size_t{1} << 22);
    for (float& number : all) number = static_cast<float>(engine() >> 8) * 0x1p-23F - 1.0F;
    return all;
  }();
  const auto piece = static_cast<int64_t>(numbers.size() * sizeof(float));
  for (int64_t at = 0; at < memory.bytes; at += piece) {
    const auto bytes = static_cast<size_t>(std::min(piece, memory.bytes - at));
    check(cudaMemcpy(memory.data.get() + at, numbers.data(), bytes, cudaMemcpyHostToDevice),
          "a copy");
  }
  check(cudaStreamSynchronize(nullptr), "a copy");
}

/// Operations a second of the best algorithm, in units of 10^12.
double product_rate(const LtLibrary& lt, lt::Handle handle, ProductType type, int64_t size) {
  Product p;
  p.type = type;
  p.m = p.n = p.k = size;
  p.trans_b = true;
  double best = 0;
  ProductChoices choices(lt.functions, handle,
                         [&](ProductDescription& description, const Product& product,
                             const lt::HeuristicResult& candidate) {
                           double ms = -1;
                           for (int i = 0; i < 3; ++i) {
                             const double once =
                                 measure_product(handle, description, product, candidate);
                             if (once > 0 && (ms < 0 || once < ms)) ms = once;
                           }
                           const auto n = static_cast<double>(size);
                           if (ms > 0) best = std::max(best, 2 * n * n * n / ms * 1e-9);
                           return ms;
                         });
  (void)choices.choose(p);
  return best;
}

/// The products of a training step of 784-512-256-10 with 128 rows: cuBLASLt's best algorithm, and
/// every way of our own, in microseconds.
void bench_small_products(Report& report, lt::Handle handle, const LtLibrary& lt) {
  struct Shape {
    int64_t m, n, k;
    bool trans_a, trans_b;
  };
  constexpr Shape kShapes[] = {{128, 512, 784, false, true}, {128, 256, 512, false, true},
                               {128, 10, 256, false, true},  {512, 784, 128, true, false},
                               {256, 512, 128, true, false}, {10, 256, 128, true, false},
                               {128, 256, 10, false, false}, {128, 512, 256, false, false}};
  constexpr double kMicroseconds = 1e3;
  for (const Shape& shape : kShapes) {
    Product p;
    p.m = shape.m;
    p.n = shape.n;
    p.k = shape.k;
    p.trans_a = shape.trans_a;
    p.trans_b = shape.trans_b;
    const std::string name = "product float32 " + std::to_string(p.m) + " x " +
                             std::to_string(p.n) + " x " + std::to_string(p.k);
    double best = -1;
    ProductChoices library(lt.functions, handle,
                           [&](ProductDescription& description, const Product& product,
                               const lt::HeuristicResult& candidate) {
                             const double ms =
                                 measure_product(handle, description, product, candidate);
                             if (ms > 0 && (best < 0 || ms < best)) best = ms;
                             return ms;
                           });
    if (library.choose(p).found) report.add(name + " by cuBLASLt, us", best * kMicroseconds);
    for (const FloatWay way : float_ways(p, float_device(0))) {
      const double ms = measure_floats(p, way);
      if (ms < 0) continue;
      const std::string side = std::to_string(tile_side(way.tile));
      report.add(name + " by tiles of " + side + " x " + side + " in " +
                     std::to_string(way.splits) + ", us",
                 ms * kMicroseconds);
    }
  }
}

void bench_products(Report& report, const LtLibrary& lt) {
  lt::Handle handle = nullptr;
  if (lt.functions.Create(&handle) != lt::kSuccess) return;
  const std::pair<const char*, ProductType> types[] = {{"float32", ProductType::kFloat32},
                                                       {"tf32", ProductType::kTf32},
                                                       {"float16", ProductType::kFloat16},
                                                       {"bfloat16", ProductType::kBfloat16},
                                                       {"int8", ProductType::kInt8}};
  for (const auto& [name, type] : types) {
    for (const int64_t size : {1024, 4096, 8192}) {
      report.add(std::string("product ") + name + " " + std::to_string(size) + ", T/s",
                 product_rate(lt, handle, type, size));
    }
  }
  bench_small_products(report, handle, lt);
  static_cast<void>(lt.functions.Destroy(handle));
}

/// A node of its own on the device; inputs without elements are left out.
class NodeBench {
 public:
  NodeBench(Device& device, Op op, std::vector<Tensor> inputs, std::vector<Tensor> outputs,
            const AttributeStorage& attributes)
      : device_(device),
        inputs_(std::move(inputs)),
        outputs_(std::move(outputs)),
        attributes_(attributes) {
    view_.op = op;
    view_.attributes = attributes_.bytes.data();
    for (const Tensor& tensor : inputs_) view_.inputs.push_back(add(tensor, operands_.inputs));
    for (const Tensor& tensor : outputs_) view_.outputs.push_back(add(tensor, operands_.outputs));
    Launch measure(view_, device_.products());
    launcher(op)(measure);
    memory_.push_back(device_.allocate(measure.workspace_bytes() + 64));
    operands_.workspace = memory_.back().data.get();
    memory_.push_back(device_.allocate(sizeof(StepState)));
    StepState state{1e-3, 1, 0, 0.0F, 1.0F, 0, 0};
    check(cudaMemcpy(memory_.back().data.get(), &state, sizeof state, cudaMemcpyHostToDevice),
          "a copy");
    operands_.state = reinterpret_cast<StepState*>(memory_.back().data.get());
  }
  /// Milliseconds of a run.
  double time() { return time(launcher(view_.op)); }
  /// The same by a launcher of the caller's.
  double time(const std::function<void(Launch&)>& run) {
    return best_ms([&](cudaStream_t stream) {
      Launch launch(view_, device_.products(), operands_, stream);
      run(launch);
    });
  }
  /// The node while nothing runs.
  [[nodiscard]] Launch measuring() { return {view_, device_.products()}; }
  /// Gigabytes a second when a run moves so many bytes.
  double rate(double bytes) { return bytes / time() * 1e-6; }

 private:
  const Tensor* add(const Tensor& tensor, std::vector<void*>& to) {
    if (tensor.numel == 0) {
      to.push_back(nullptr);
      return nullptr;
    }
    memory_.push_back(device_.allocate(byte_size(tensor)));
    fill(memory_.back());
    to.push_back(memory_.back().data.get());
    return &tensor;
  }

  Device& device_;
  std::vector<Tensor> inputs_;
  std::vector<Tensor> outputs_;
  AttributeStorage attributes_;
  NodeView view_{};
  Operands operands_;
  std::vector<Memory> memory_;
};

Tensor floats(const Shape& shape) { return make_tensor(shape, DType::kFloat32); }

void bench_memory(Report& report, Device& device) {
  constexpr int64_t kMany = int64_t{1} << 26;
  const auto n = static_cast<double>(kMany);
  const Tensor many = floats({kMany});
  const auto rate = [&](Op op, std::vector<Tensor> in, std::vector<Tensor> out, double bytes,
                        const AttributeList& attributes = {}) {
    return NodeBench(device, op, std::move(in), std::move(out), make_attributes(op, attributes))
        .rate(bytes);
  };
  const Memory from = device.allocate(kMany * 4);
  const Memory to = device.allocate(kMany * 4);
  const double copy_ms = best_ms([&](cudaStream_t stream) {
    check(cudaMemcpyAsync(to.data.get(), from.data.get(), kMany * 4, cudaMemcpyDeviceToDevice,
                          stream),
          "a copy");
  });
  report.add("copy by the runtime, GB/s", 8 * n / copy_ms * 1e-6);
  report.add("relu, GB/s", rate(Op::relu, {many}, {many}, 8 * n));
  report.add("gelu, GB/s", rate(Op::gelu, {many}, {many}, 8 * n));
  report.add("add, GB/s", rate(Op::add, {many, many}, {many}, 12 * n));
  report.add("add of a row, GB/s", rate(Op::add, {floats({kMany / 1024, 1024}), floats({1024})},
                                        {floats({kMany / 1024, 1024})}, 8 * n));
  report.add("dropout, GB/s", rate(Op::dropout, {many}, {many}, 8 * n, {{"rate", 0.1}}));
  report.add("sum of rows, GB/s",
             rate(Op::sum, {floats({kMany / 1024, 1024})}, {floats({kMany / 1024})}, 4 * n,
                  {{"axes", std::vector<double>{1}}}));
  report.add("sum of columns, GB/s", rate(Op::sum, {floats({kMany / 1024, 1024})}, {floats({1024})},
                                          4 * n, {{"axes", std::vector<double>{0}}}));
  report.add("softmax of 1024, GB/s", rate(Op::softmax, {floats({kMany / 1024, 1024})},
                                           {floats({kMany / 1024, 1024})}, 8 * n, {{"axis", 1.0}}));
  report.add("transpose, GB/s", rate(Op::transpose, {floats({8192, 8192})}, {floats({8192, 8192})},
                                     8 * n, {{"perm", std::vector<double>{1, 0}}}));
  report.add("adamw, GB/s",
             rate(Op::adam, {many, many, floats({2 * kMany}), floats({ops::sweep_tiles(kMany)})},
                  {}, 28 * n, {{"weightDecay", 0.01}, {"decoupled", true}}));
}

struct Heads {
  int64_t batch, heads, time, depth;
};

/// Causal attention of `h`, joined heads, or its gradients.
NodeBench bench_heads(Device& device, const Heads& h, bool bf16, bool gradients) {
  const Op op = gradients ? Op::attentionGrad : Op::attention;
  AttributeStorage storage =
      make_attributes(Op::attention, {{"heads", static_cast<double>(h.heads)}, {"causal", true}});
  reinterpret_cast<ops::AttentionAttributes*>(storage.bytes.data())->bf16 = bf16;
  const Tensor all = floats({h.batch, h.time, 3 * h.heads * h.depth});
  const Tensor y = floats({h.batch, h.time, h.heads * h.depth});
  const Tensor log_sums = floats({h.batch, h.heads, h.time, 2});
  if (!gradients) return {device, op, {all}, {y, log_sums}, storage};
  return {device, op, {all, {}, {}, {}, y, log_sums, y}, {all}, storage};
}

/// Operations a second of causal attention, half of the matrix counted, as in FlashAttention; in
/// bfloat16 also of each way to compute it and its gradients that the device has.
void bench_attention(Report& report, Device& device) {
  constexpr const char* kWays[] = {" by warps, T/s", " by warpgroups, T/s"};
  constexpr double kGradientWork = 2.5;  // five products for two
  for (const Heads& h : {Heads{8, 16, 1024, 64}, {2, 16, 4096, 64}, {2, 8, 4096, 128}}) {
    const double work = 2e-9 * static_cast<double>(h.batch * h.heads * h.depth * h.time * h.time);
    const std::string size = std::to_string(h.batch) + "x" + std::to_string(h.heads) + "x" +
                             std::to_string(h.time) + "x" + std::to_string(h.depth) + " causal, ";
    for (const bool bf16 : {false, true}) {
      report.add(
          std::string("attention ") + (bf16 ? "bfloat16 " : "float32 ") + size + "forward, T/s",
          work / bench_heads(device, h, bf16, false).time());
    }
    const std::string name = "attention bfloat16 " + size;
    NodeBench node = bench_heads(device, h, true, false);
    for (const AttentionWay way : attention_ways(node.measuring())) {
      const double ms = node.time([&](Launch& launch) { launch_attention_by(launch, way); });
      report.add(name + "forward" + kWays[static_cast<size_t>(way)], work / ms);
    }
    NodeBench gradients = bench_heads(device, h, true, true);
    for (const AttentionWay way : gradient_ways(gradients.measuring())) {
      const double ms = gradients.time([&](Launch& launch) { launch_gradients_by(launch, way); });
      report.add(name + "backward" + kWays[static_cast<size_t>(way)], kGradientWork * work / ms);
    }
  }
}

/// Products of bytes with floats out: our kernels, and cuBLASLt with the pass over its sums that it
/// needs, in operations a second; rows and columns of GPT-2's layers.
void bench_bytes(Report& report, Device& device) {
  const std::pair<const char*, ByteWay> ways[] = {
      {"tiles of 16 x 64", ByteWay::kTile16x64},
      {"tiles of 64 x 64", ByteWay::kTile64x64},
      {"tiles of 128 x 128", ByteWay::kTile128x128},
      {"warpgroups of 128 x 128", ByteWay::kWarpgroups128x128},
      {"warpgroups of 128 x 256", ByteWay::kWarpgroups128x256},
      {"cuBLASLt and a pass", ByteWay::kLibrary}};
  const ByteShape shapes[] = {
      {1, 3072, 768}, {128, 3072, 768}, {4096, 3072, 768}, {4096, 4096, 4096}};
  for (const ByteShape& shape : shapes) {
    const double work = 2.0 * static_cast<double>(shape.m) * static_cast<double>(shape.n) *
                        static_cast<double>(shape.k);
    for (const auto& [name, way] : ways) {
      double best = -1;
      for (int i = 0; i < 5; ++i) {
        const double ms = measure_bytes(device.products(), shape, way);
        if (ms > 0 && (best < 0 || ms < best)) best = ms;
      }
      if (best < 0) continue;
      report.add("linear int8 " + std::to_string(shape.m) + " x " + std::to_string(shape.n) +
                     " x " + std::to_string(shape.k) + " by " + name + ", T/s",
                 work / best * 1e-9);
    }
  }
}

/// Microseconds of the host's clock for a training step of 784-512-256-10.
double perceptron_step(const Backend& backend, Precision precision, int64_t rows) {
  GraphDescription d;
  d.inputs = {{"x", {-1, 784}, DType::kFloat32}, {"t", {-1}, DType::kInt32}};
  const Initializer uniform{InitializerKind::kUniform, -0.05, 0.05};
  const int64_t widths[] = {784, 512, 256, 10};
  for (int i = 0; i < 3; ++i) {
    const std::string name = std::to_string(i);
    d.parameters.push_back({"w" + name, {widths[i + 1], widths[i]}, true, uniform});
    d.parameters.push_back({"b" + name, {widths[i + 1]}, true, uniform});
  }
  d.nodes = {{"linear", {0, 2, 3}, {}},
             {"relu", {8}, {}},
             {"linear", {9, 4, 5}, {}},
             {"relu", {10}, {}},
             {"linear", {11, 6, 7}, {}},
             {"countTargets", {1}, {}},
             {"crossEntropy", {12, 1, -1, -1, 13}, {}}};
  d.outputs = {14};
  TrainerOptions options;
  options.optimizer = Op::adam;
  options.optimizer_attributes = make_attributes(Op::adam, {});
  options.precision = precision;
  Trainer trainer(std::make_shared<ParameterStore>(d.parameters, 1), d, options, backend);
  std::mt19937 engine(2);
  std::vector<float> x(static_cast<size_t>(rows * 784));
  for (float& value : x) value = static_cast<float>(engine() >> 8) * 0x1p-24F;
  const std::vector<int32_t> t(static_cast<size_t>(rows), 3);
  double results[1 + Trainer::kStepResults];
  double best = 1e30;
  for (int i = 0; i < 2000; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    trainer.train(rows, {x.data(), t.data()}, 1e-4, results);
    const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - begin;
    if (i > 100) best = std::min(best, took.count());
  }
  return best;
}

void bench_steps(Report& report) {
  const Backend& gpu = tandem_device_library()->open(0);
  for (const int64_t rows : {128, 1024}) {
    const std::string name = "step of a perceptron, " + std::to_string(rows) + " rows, ";
    report.add(name + "us", perceptron_step(gpu, Precision::kFloat32, rows));
    report.add(name + "bf16-mixed, us", perceptron_step(gpu, Precision::kBf16Mixed, rows));
  }
  report.add("step of a perceptron, 128 rows, on the CPU, us",
             perceptron_step(cpu_backend(), Precision::kFloat32, 128));
}

int run(const char* part) {
  const auto wanted = [&](const char* name) {
    return part == nullptr || std::strcmp(part, name) == 0;
  };
  Report report;
  LtLibrary lt = open_lt(lt_candidates(python_paths()));
  Device device(0, lt, {});
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, 0), "a question to a device");
  int driver = 0;
  check(cudaDriverGetVersion(&driver), "a question to the driver");
  if (wanted("memory")) bench_memory(report, device);
  if (wanted("attention")) bench_attention(report, device);
  if (wanted("bytes")) bench_bytes(report, device);
  if (wanted("products")) bench_products(report, lt);
  if (wanted("steps")) bench_steps(report);
  report.print(properties.name, driver, lt.version);
  return 0;
}

}  // namespace
}  // namespace tandem::cuda

int main(int argc, char** argv) {
  try {
    return tandem::cuda::run(argc > 1 ? argv[1] : nullptr);
  } catch (const tandem::Error& error) {
    std::fprintf(stderr, "nothing measured: %s\n", error.what());
    constexpr int kSkipped = 77;
    return kSkipped;
  }
}
