// oneDNN's convolution primitives.
#include "convolution.h"

#ifdef TANDEM_BENCH_ONEDNN

#include <dnnl.hpp>
#include <memory>
#include <unordered_map>
#include <vector>

#include "suite.h"
#include "threads.h"

// Of omp.h, which belongs to a compiler: the one that checks this code need not have it.
extern "C" void omp_set_num_threads(int threads);

namespace tandem::bench {
namespace {

using dnnl::memory;

constexpr auto kForwardKind = dnnl::prop_kind::forward_training;
constexpr auto kDirect = dnnl::algorithm::convolution_auto;

/// Shapes with layouts left to the library, and how the windows move.
struct Shapes {
  memory::desc x, w, y;
  memory::dims strides, padding;

  explicit Shapes(const Convolution& c)
      : x(any({c.batch, c.in, c.size, c.size})),
        w(c.groups == 1 ? any({c.out, c.in, c.kernel, c.kernel})
                        : any({c.groups, c.out / c.groups, c.in / c.groups, c.kernel, c.kernel})),
        y(any({c.batch, c.out, c.out_size(), c.out_size()})),
        strides{c.stride, c.stride},
        padding{c.padding(), c.padding()} {}

 private:
  static memory::desc any(const memory::dims& dims) {
    return {dims, memory::data_type::f32, memory::format_tag::any};
  }
};

using Forward = dnnl::convolution_forward;
using Data = dnnl::convolution_backward_data;
using Weights = dnnl::convolution_backward_weights;

#if DNNL_VERSION_MAJOR >= 3
Forward::primitive_desc forward(const Shapes& s, const dnnl::engine& engine) {
  return {engine, kForwardKind, kDirect, s.x, s.w, s.y, s.strides, s.padding, s.padding};
}
Data::primitive_desc data(const Shapes& s, const dnnl::engine& engine) {
  return {engine, kDirect, s.x, s.w, s.y, s.strides, s.padding, s.padding, forward(s, engine)};
}
Weights::primitive_desc weights(const Shapes& s, const dnnl::engine& engine) {
  return {engine, kDirect, s.x, s.w, s.y, s.strides, s.padding, s.padding, forward(s, engine)};
}
#else
Forward::primitive_desc forward(const Shapes& s, const dnnl::engine& engine) {
  return {Forward::desc(kForwardKind, kDirect, s.x, s.w, s.y, s.strides, s.padding, s.padding),
          engine};
}
Data::primitive_desc data(const Shapes& s, const dnnl::engine& engine) {
  return {Data::desc(kDirect, s.x, s.w, s.y, s.strides, s.padding, s.padding), engine,
          forward(s, engine)};
}
Weights::primitive_desc weights(const Shapes& s, const dnnl::engine& engine) {
  return {Weights::desc(kDirect, s.x, s.w, s.y, s.strides, s.padding, s.padding), engine,
          forward(s, engine)};
}
#endif

class OneDnnConvolution {
 public:
  OneDnnConvolution(const Convolution& c, Direction direction, int threads)
      : threads_(threads), engine_(dnnl::engine::kind::cpu, 0), stream_(engine_) {
    // the primitive is made for this number of threads
    omp_set_num_threads(threads_);
    const Shapes shapes(c);
    switch (direction) {
      case Direction::kForward: {
        const auto d = forward(shapes, engine_);
        take(Forward(d), {{DNNL_ARG_SRC, d.src_desc()},
                          {DNNL_ARG_WEIGHTS, d.weights_desc()},
                          {DNNL_ARG_DST, d.dst_desc()}});
        break;
      }
      case Direction::kDataGradient: {
        const auto d = data(shapes, engine_);
        take(Data(d), {{DNNL_ARG_DIFF_SRC, d.diff_src_desc()},
                       {DNNL_ARG_WEIGHTS, d.weights_desc()},
                       {DNNL_ARG_DIFF_DST, d.diff_dst_desc()}});
        break;
      }
      case Direction::kWeightGradient: {
        const auto d = weights(shapes, engine_);
        take(Weights(d), {{DNNL_ARG_SRC, d.src_desc()},
                          {DNNL_ARG_DIFF_WEIGHTS, d.diff_weights_desc()},
                          {DNNL_ARG_DIFF_DST, d.diff_dst_desc()}});
        break;
      }
    }
    pin_new_threads();
  }

  void run(int64_t calls) {
    omp_set_num_threads(threads_);
    for (int64_t i = 0; i < calls; ++i) primitive_.execute(stream_, arguments_);
    stream_.wait();
  }

 private:
  void take(const dnnl::primitive& primitive,
            const std::vector<std::pair<int, memory::desc>>& operands) {
    primitive_ = primitive;
    for (const auto& [index, desc] : operands) {
      memories_.push_back(noise(static_cast<int64_t>(desc.get_size() / sizeof(float))));
      arguments_.insert({index, memory(desc, engine_, memories_.back().data.get())});
    }
  }

  int threads_;
  dnnl::engine engine_;
  dnnl::stream stream_;
  dnnl::primitive primitive_;
  std::vector<Memory> memories_;
  std::unordered_map<int, memory> arguments_;
};

}  // namespace

std::optional<Side> onednn_convolution(const Convolution& convolution, Direction direction,
                                       int threads) {
  try {
    auto peer = std::make_shared<OneDnnConvolution>(convolution, direction, threads);
    return Side{"onednn", convolution.operations(), [=](int64_t calls) { peer->run(calls); }};
  } catch (const dnnl::error&) {
    return {};  // not for this processor
  }
}

}  // namespace tandem::bench

#else

namespace tandem::bench {

std::optional<Side> onednn_convolution(const Convolution& /*convolution*/, Direction /*direction*/,
                                       int /*threads*/) {
  return {};
}

}  // namespace tandem::bench

#endif
