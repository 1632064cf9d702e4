// conv1d, conv2d and their fused form: a product [out, in * taps] * [in * taps, pixels] for each
// image and group. With kernels of 1 x 1 the second operand is the image itself.
#include "cpu/isa/winograd.h"

namespace tandem::cpu::TANDEM_ISA_NS {

double conv_products(const ConvShape& s) {
  const auto real = [](int64_t a, int64_t b) {
    return static_cast<double>(a) * static_cast<double>(b);
  };
  return real(s.batch, s.groups) * real(s.in, s.out) * real(s.y_rows, s.y_columns) *
         real(s.tap_rows, s.tap_columns);
}

ConvGrid forward_grid(const ConvShape& s) {
  return {s.x_rows,
          s.x_columns,
          s.y_rows,
          s.y_columns,
          {s.tap_rows, s.stride_rows, -s.padding_rows, s.dilation_rows},
          {s.tap_columns, s.stride_columns, -s.padding_columns, s.dilation_columns}};
}

using Attributes = ops::FusedConv::Attributes;

GatheredProduct product_with_epilogue(const Attributes& attributes, const NodeView& node) {
  GatheredProduct product = {};
  product.planes = 0;
  product.a = 1;
  product.bias = node.input_count > 2 && node.inputs[2] != nullptr ? 2 : -1;
  constexpr auto kResidual = static_cast<int32_t>(ops::FusedConv::kResidual);
  const bool adds = node.input_count > kResidual && node.inputs[kResidual] != nullptr;
  product.residual = adds ? kResidual : -1;
  product.y = node.input_count;
  product.pre = attributes.save_pre ? node.input_count + 1 : -1;
  product.params[0] = attributes.activation_attributes.a;
  product.params[1] = attributes.activation_attributes.b;
  if (attributes.activation >= 0) {
    const auto op = static_cast<Op>(attributes.activation);
    product.relu = op == Op::relu;
    product.activation = row_function(op);
  }
  return product;
}

namespace {

void launch(const NodeView& node, const Attributes& attributes, Emitter& emit) {
  const ConvShape shape =
      conv_shape(*node.inputs[0], *node.outputs[0], *node.inputs[1], attributes.conv);
  emit_convolution(product_with_epilogue(attributes, node), shape, emit);
}

}  // namespace

void set_forward_shape(GatheredProduct& product, const ConvShape& shape) {
  product.grid = forward_grid(shape);
  product.batch = shape.batch;
  product.groups = shape.groups;
  product.channels = shape.in;
  product.rows = shape.out;
}

void emit_convolution(GatheredProduct product, const ConvShape& shape, Emitter& emit) {
  set_forward_shape(product, shape);
  if (is_depthwise(shape) && rows_fit(product.grid)) {
    emit_depthwise(product, emit);
  } else if (is_pointwise(shape)) {
    product.bf16 = shape.bf16;
    emit_pointwise(product, false, emit);
  } else if (is_winograd(shape)) {
    product.bf16 = shape.bf16;
    emit_winograd(product, forward_tiles(shape), false, emit);
  } else {
    product.bf16 = pairs_channels(shape, shape.in);
    if (product.bf16) product.a = emit_words(shape, false, emit);
    emit_gathered(product, emit);
  }
}

void launch_conv1d(const NodeView& node, Emitter& emit) {
  Attributes attributes = {};
  attributes.conv = attributes_of<ops::ConvAttributes>(node);
  attributes.activation = -1;
  launch(node, attributes, emit);
}

void launch_conv2d(const NodeView& node, Emitter& emit) { launch_conv1d(node, emit); }

void launch_fusedConv(const NodeView& node, Emitter& emit) {
  const auto& attributes = attributes_of<Attributes>(node);
  if (attributes.transposed) {
    launch_backward(node, attributes, emit);
  } else {
    launch(node, attributes, emit);
  }
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
