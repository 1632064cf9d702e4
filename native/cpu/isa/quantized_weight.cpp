// Packs weights as bytes, a panel of columns a tile.
#include "cpu/isa/quantized_weight.h"

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

/// One column of B, which is a row of the weight; returns the sum of its bytes.
int32_t pack_column(const QuantizedWeight& w, const float* row, float scale, char* panel,
                    int64_t width) {
  const GemmKernels& kernels = *w.plan.desc.kernels;
  const int64_t group = kernels.group;
  int32_t sum = 0;
  int64_t k = 0;
  for (int64_t tap = 0; tap < w.taps; ++tap) {
    for (int64_t c = 0; c < w.channels; ++c, ++k) {
      const int32_t q = quantized_weight_of(row[c * w.taps + tap], scale);
      panel[k / group * width * kernels.b_word + k % group] = static_cast<char>(q);
      sum += q;
    }
  }
  return sum;
}

// Operands: the weight, the packed memory.
void pack_tile(const void* raw, void* const* operands, int64_t tile, const TileContext&) {
  const auto& w = params_of<QuantizedWeight>(raw);
  const int64_t n = w.plan.desc.n, first = tile * kPanelColumns;
  const int64_t columns = least(n - first, kPanelColumns);
  const int64_t width = columns > kLanes ? kPanelColumns : kLanes;
  const int64_t b_word = w.plan.desc.kernels->b_word;
  auto* const packed = static_cast<char*>(operands[1]);
  char* const panel = packed + first * w.plan.k_words * b_word;
  std::memset(panel, 0, static_cast<size_t>(width * w.plan.k_words * b_word));
  auto* const sums = reinterpret_cast<int32_t*>(packed + w.plan.sums_at) + first;
  auto* const scales = reinterpret_cast<float*>(packed + w.scales_at) + first;
  const float* const weight = static_cast<const float*>(operands[0]);
  for (int64_t j = 0; j < width; ++j) {
    sums[j] = 0;
    if (j >= columns) continue;
    const float scale = w.scales[first + j];
    sums[j] = pack_column(w, weight + (first + j) * w.channels * w.taps, scale, panel + j * b_word,
                          width);
    scales[j] = scale * w.x_scale;
  }
}

}  // namespace

QuantizedWeight quantized_weight(const GemmPlan& plan, const ops::QuantizedProduct& product,
                                 int64_t channels, int64_t taps) {
  QuantizedWeight w{};
  w.plan = plan;
  w.scales = product.weight_scales;
  w.x_scale = product.mode == QuantizationMode::kStatic ? product.x_scale : 1.0F;
  w.channels = channels;
  w.taps = taps;
  w.scales_at = plan.packed_bytes;
  w.bytes = plan.packed_bytes + round_up(plan.desc.n * 4, 64);
  return w;
}

int freeze(const QuantizedWeight& weight, int32_t index, Emitter& emit) {
  constexpr uint64_t kFirstLayout = 16;  // those below are of products of floats
  return emit.frozen(1, kFirstLayout + static_cast<uint64_t>(index), pack_tile, &weight,
                     sizeof weight, ceil_div(weight.plan.desc.n, kPanelColumns), weight.bytes);
}

QuantizedResult quantized_result(const NodeView& node, const ops::QuantizedProduct& product) {
  QuantizedResult result{};
  result.bias = node.input_count > 2 && node.inputs[2] != nullptr ? 2 : -1;
  result.y = node.input_count;
  result.params[0] = product.activation_attributes.a;
  result.params[1] = product.activation_attributes.b;
  if (product.activation >= 0) {
    const auto op = static_cast<Op>(product.activation);
    result.relu = op == Op::relu;
    result.activation = row_function(op);
  }
  if (product.to_bytes) {
    result.inverse = 1.0F / product.y_scale;
    result.zero = product.y_zero;
  }
  return result;
}

GemmEpilogue epilogue_of(const QuantizedResult& result, void* const* operands) {
  GemmEpilogue epilogue{};
  if (result.bias >= 0) epilogue.bias = static_cast<const float*>(operands[result.bias]);
  epilogue.params = result.params;
  if (result.relu) {
    epilogue.activation = GEMM_ACT_RELU;
  } else if (result.activation != nullptr) {
    epilogue.activation = GEMM_ACT_APPLY;
    epilogue.apply = result.activation;
  }
  epilogue.c_inverse = result.inverse;
  epilogue.c_zero = result.zero;
  return epilogue;
}

double quantized_cost(const GemmPlan& plan, int64_t rows) {
  constexpr double kFlopsPerNanosecond = 5.0 * kWidth;
  constexpr double kBytesPerNanosecond = 50.0;
  const GemmDesc& desc = plan.desc;
  const double words = static_cast<double>(desc.n) * static_cast<double>(plan.k_words);
  const double compute =
      2.0 * static_cast<double>(rows) * words * desc.kernels->steps_per_word / kFlopsPerNanosecond;
  const double load = words * desc.kernels->b_word / kBytesPerNanosecond;
  return (compute > load ? compute : load) + 100.0;
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
