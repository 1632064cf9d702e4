// oneDNN's layer and batch normalisation in training, and their gradients, on plain layouts.
#include "norm.h"

#include "suite.h"

#ifdef TANDEM_BENCH_ONEDNN

#include <dnnl.hpp>
#include <memory>
#include <unordered_map>

#include "threads.h"

// Of omp.h, which belongs to a compiler: the one that checks this code need not have it.
extern "C" void omp_set_num_threads(int threads);

namespace tandem::bench {
namespace {

using dnnl::memory;
using dnnl::prop_kind;
using Flags = dnnl::normalization_flags;

constexpr float kEpsilon = 1e-5F;
const Flags kFlags = Flags::use_scale | Flags::use_shift;

memory::desc dense(const Shape& shape) {
  memory::dims strides(shape.size(), 1);
  for (size_t i = shape.size() - 1; i-- > 0;) strides[i] = strides[i + 1] * shape[i + 1];
  return {shape, memory::data_type::f32, strides};
}

/// Forward and Backward: layer_normalization_* or batch_normalization_*.
template <typename Forward, typename Backward>
class OneDnnNorm {
 public:
  OneDnnNorm(const Norm& norm, int64_t weights, int threads)
      : threads_(threads), engine_(dnnl::engine::kind::cpu, 0), stream_(engine_) {
    // the primitive is made for this number of threads
    omp_set_num_threads(threads_);
    const memory::desc data = dense(norm.shape);
    const memory::desc row = dense({weights});
    const auto forward = describe_forward(data);
    add(DNNL_ARG_SRC, data);
    add(DNNL_ARG_MEAN, forward.mean_desc());
    add(DNNL_ARG_VARIANCE, forward.variance_desc());
    add(DNNL_ARG_SCALE, row);
    add(DNNL_ARG_SHIFT, row);
    if (norm.gradient) {
      add(DNNL_ARG_DIFF_DST, data);
      add(DNNL_ARG_DIFF_SRC, data);
      add(DNNL_ARG_DIFF_SCALE, row);
      add(DNNL_ARG_DIFF_SHIFT, row);
      primitive_ = Backward(describe_backward(data, forward));
    } else {
      add(DNNL_ARG_DST, data);
      primitive_ = Forward(forward);
    }
    stream_.wait();
    pin_new_threads();
  }

  void run(int64_t calls) {
    omp_set_num_threads(threads_);
    for (int64_t i = 0; i < calls; ++i) primitive_.execute(stream_, arguments_);
    stream_.wait();
  }

 private:
  typename Forward::primitive_desc describe_forward(const memory::desc& data) {
#if DNNL_VERSION_MAJOR >= 3
    return {engine_, prop_kind::forward_training, data, data, kEpsilon, kFlags};
#else
    return {typename Forward::desc(prop_kind::forward_training, data, kEpsilon, kFlags), engine_};
#endif
  }

  typename Backward::primitive_desc describe_backward(
      const memory::desc& data, const typename Forward::primitive_desc& forward) {
#if DNNL_VERSION_MAJOR >= 3
    return {engine_, prop_kind::backward, data, data, data, kEpsilon, kFlags, forward};
#else
    return {typename Backward::desc(prop_kind::backward, data, data, kEpsilon, kFlags), engine_,
            forward};
#endif
  }

  void add(int argument, const memory::desc& desc) {
    memories_.push_back(noise(static_cast<int64_t>(desc.get_size()) / 4));
    arguments_.insert({argument, memory(desc, engine_, memories_.back().data.get())});
  }

  int threads_;
  dnnl::engine engine_;
  dnnl::stream stream_;
  dnnl::primitive primitive_;
  std::vector<Memory> memories_;
  std::unordered_map<int, memory> arguments_;
};

template <typename Forward, typename Backward>
Side make_side(const Norm& norm, int64_t weights, double work, int threads) {
  auto peer = std::make_shared<OneDnnNorm<Forward, Backward>>(norm, weights, threads);
  return {"onednn", work, [=](int64_t calls) { peer->run(calls); }};
}

}  // namespace

std::optional<Side> onednn_norm(const Norm& norm, double work, int threads) {
  if (norm.kind == Norm::kLayer) {
    return make_side<dnnl::layer_normalization_forward, dnnl::layer_normalization_backward>(
        norm, norm.shape.back(), work, threads);
  }
  if (norm.kind == Norm::kBatch) {
    return make_side<dnnl::batch_normalization_forward, dnnl::batch_normalization_backward>(
        norm, norm.shape[1], work, threads);
  }
  return {};
}

}  // namespace tandem::bench

#else

namespace tandem::bench {

std::optional<Side> onednn_norm(const Norm& /*norm*/, double /*work*/, int /*threads*/) {
  return {};
}

}  // namespace tandem::bench

#endif
