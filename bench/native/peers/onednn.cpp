// oneDNN's matmul primitive, with its post-ops where our epilogue is fused.
#include "product.h"

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

memory::data_type data_type(Element element) {
  switch (element) {
    case Element::kBf16:
      return memory::data_type::bf16;
    case Element::kS8:
      return memory::data_type::s8;
    case Element::kU8:
      return memory::data_type::u8;
    default:
      return memory::data_type::f32;
  }
}

memory::desc plain(int64_t rows, int64_t columns, bool transposed, Element element) {
  const memory::dims strides = transposed ? memory::dims{1, rows} : memory::dims{columns, 1};
  return {{rows, columns}, data_type(element), strides};
}

constexpr int kByColumn = 2;  // a mask: one value for each index of dimension 1

dnnl::primitive_attr epilogue(const Product& product, const std::string& type) {
  dnnl::primitive_attr attributes;
  if (product.bias_relu) {
    dnnl::post_ops relu;
#if DNNL_VERSION_MAJOR >= 3
    relu.append_eltwise(dnnl::algorithm::eltwise_relu, 0.0F, 0.0F);
#else
    relu.append_eltwise(1.0F, dnnl::algorithm::eltwise_relu, 0.0F, 0.0F);
#endif
    attributes.set_post_ops(relu);
  }
  if (type == "mixed") attributes.set_fpmath_mode(dnnl::fpmath_mode::bf16);
  if (type == "s8") {
#if DNNL_VERSION_MAJOR >= 3
    attributes.set_scales_mask(DNNL_ARG_WEIGHTS, kByColumn);
#else
    attributes.set_output_scales(kByColumn,
                                 std::vector<float>(static_cast<size_t>(product.n), 1.0F / 256.0F));
#endif
  }
  return attributes;
}

dnnl::matmul::primitive_desc describe(const Product& product, const std::string& type,
                                      const dnnl::engine& engine) {
  const Elements elements = elements_of(type);
  const memory::desc a = plain(product.m, product.k, product.trans_a, elements.a);
  const memory::desc c = plain(product.m, product.n, false, elements.c);
  const memory::desc bias =
      product.bias_relu ? plain(1, product.n, false, Element::kF32) : memory::desc();
  const memory::desc b =
      product.packed
          ? memory::desc({product.k, product.n}, data_type(elements.b), memory::format_tag::any)
          : plain(product.k, product.n, product.trans_b, elements.b);
  const dnnl::primitive_attr attributes = epilogue(product, type);
#if DNNL_VERSION_MAJOR >= 3
  return {engine, a, b, bias, c, attributes};
#else
  return {dnnl::matmul::desc(a, b, bias, c), attributes, engine};
#endif
}

class OneDnnProduct {
 public:
  OneDnnProduct(const Product& product, const std::string& type, int threads)
      : threads_(threads), engine_(dnnl::engine::kind::cpu, 0), stream_(engine_) {
    // the primitive is made for this number of threads
    omp_set_num_threads(threads_);
    const Elements elements = elements_of(type);
    const auto description = describe(product, type, engine_);
    primitive_ = dnnl::matmul(description);
    memory b = filled(plain(product.k, product.n, product.trans_b, elements.b), elements.b);
    memory weights = b;
    if (product.packed) {
      weights = memory(description.weights_desc(), engine_);
      dnnl::reorder(b, weights).execute(stream_, b, weights);
    }
    arguments_ = {{DNNL_ARG_SRC, filled(description.src_desc(), elements.a)},
                  {DNNL_ARG_WEIGHTS, weights},
                  {DNNL_ARG_DST, filled(description.dst_desc(), elements.c)}};
    const memory::desc row = plain(1, product.n, false, Element::kF32);
    if (product.bias_relu) arguments_.insert({DNNL_ARG_BIAS, filled(row, Element::kF32)});
#if DNNL_VERSION_MAJOR >= 3
    const memory::desc scales({product.n}, memory::data_type::f32, memory::format_tag::x);
    if (type == "s8")
      arguments_.insert({DNNL_ARG_ATTR_SCALES | DNNL_ARG_WEIGHTS, filled(scales, Element::kF32)});
#endif
    stream_.wait();
    pin_new_threads();
  }

  void run(int64_t calls) {
    omp_set_num_threads(threads_);
    for (int64_t i = 0; i < calls; ++i) primitive_.execute(stream_, arguments_);
    stream_.wait();
  }

 private:
  memory filled(const memory::desc& desc, Element element) {
    memories_.push_back(noise(static_cast<int64_t>(desc.get_size()) / size_of(element), element));
    return {desc, engine_, memories_.back().data.get()};
  }

  int threads_;
  dnnl::engine engine_;
  dnnl::stream stream_;
  dnnl::matmul primitive_;
  std::vector<Memory> memories_;
  std::unordered_map<int, memory> arguments_;
};

}  // namespace

std::optional<Side> onednn_product(const Product& product, const std::string& type, int threads) {
  try {
    auto peer = std::make_shared<OneDnnProduct>(product, type, threads);
    return Side{"onednn", product.operations(), [=](int64_t calls) { peer->run(calls); }};
  } catch (const dnnl::error&) {
    return {};  // not for this processor
  }
}

std::string describe_onednn() {
  const dnnl_version_t& version = *dnnl_version();
  return "\"onednn\":\"" + std::to_string(version.major) + "." + std::to_string(version.minor) +
         "." + std::to_string(version.patch) + "\"";
}

}  // namespace tandem::bench

#else

namespace tandem::bench {

std::optional<Side> onednn_product(const Product& /*product*/, const std::string& /*type*/,
                                   int /*threads*/) {
  return {};
}
std::string describe_onednn() { return {}; }

}  // namespace tandem::bench

#endif
