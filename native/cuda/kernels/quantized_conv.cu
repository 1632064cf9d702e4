// quantizedConv: a convolution over images of bytes that lie channels last, as a product
// [pixels, taps * channels] * [taps * channels, out] whose rows are gathered on the way.
#include "core/ops/quantized.h"

#include <limits>
#include <string>

#include "core/error.h"
#include "cuda/device/byte_product.cuh"

namespace tandem::cuda {
namespace {

int32_t narrow(int64_t x) {
  if (x > std::numeric_limits<int32_t>::max()) {
    fail(ErrorCode::kShape,
         "expected images of fewer than 2^31 elements on a GPU, received " + std::to_string(x));
  }
  return static_cast<int32_t>(x);
}

/// Sizes of x [n, (h,) w, c], w [out, c, (kh,) kw] and y.
ByteImages images_of(const Launch& launch, const ops::ConvAttributes& conv) {
  const Tensor& x = launch.input(0);
  const Tensor& w = launch.input(1);
  const Tensor& y = launch.output();
  const bool plane = x.rank == 4;
  static_cast<void>(narrow(x.numel / x.dims[0]));
  ByteImages s{};
  s.channels = narrow(x.dims[x.rank - 1]);
  s.columns = narrow(x.dims[x.rank - 2]);
  s.rows = plane ? narrow(x.dims[1]) : 1;
  s.y_columns = narrow(y.dims[y.rank - 2]);
  s.y_rows = plane ? narrow(y.dims[1]) : 1;
  s.tap_columns = narrow(w.dims[w.rank - 1]);
  s.taps = s.tap_columns * (plane ? narrow(w.dims[2]) : 1);
  s.stride_rows = narrow(conv.stride.height);
  s.stride_columns = narrow(conv.stride.width);
  s.padding_rows = narrow(conv.padding.height);
  s.padding_columns = narrow(conv.padding.width);
  s.dilation_rows = narrow(conv.dilation.height);
  s.dilation_columns = narrow(conv.dilation.width);
  return s;
}

/// Whether rows of the product are pixels of x as they lie.
bool in_place(const ByteImages& s) {
  return s.taps == 1 && s.stride_rows * s.stride_columns == 1 &&
         s.padding_rows + s.padding_columns == 0;
}

}  // namespace

void launch_quantizedConv(Launch& launch) {
  const auto& [product, conv] = launch.attributes<ops::QuantizedConv::Attributes>();
  const Tensor& w = launch.input(1);
  if (launch.output().numel == 0) return;
  if (conv.groups != 1) {
    fail(ErrorCode::kDevice, "expected one group for convolutions of bytes on a GPU, received " +
                                 std::to_string(conv.groups));
  }
  ByteProduct p{};
  p.images = images_of(launch, conv);
  const ByteWeight weight = byte_weight(launch, product, w.dims[1], p.images.taps);
  p.m = launch.output().numel / w.dims[0];
  p.n = w.dims[0];
  p.k = weight.k;
  p.x = launch.in<uint8_t>(0);
  p.w = weight.bytes;
  const bool whole_units = p.images.channels % kByteUnit == 0;
  p.source = !whole_units         ? ByteSource::kGathered
             : in_place(p.images) ? ByteSource::kRows
                                  : ByteSource::kPixels;
  p.result = byte_result(launch, product, weight);
  launch_byte_product(launch, p);
}

}  // namespace tandem::cuda
