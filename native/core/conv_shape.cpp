#include "core/conv_shape.h"

namespace tandem {
namespace {

/// What x, w and the attributes tell.
ConvShape without_plane(const Tensor& x, const Tensor& w, const ops::ConvAttributes& attributes) {
  const auto height = [](const Tensor& t) { return t.rank == 4 ? t.dims[2] : 1; };
  ConvShape s = {};
  s.batch = x.dims[0];
  s.groups = attributes.groups;
  s.in = x.dims[1] / s.groups;
  s.x_rows = height(x);
  s.x_columns = x.dims[x.rank - 1];
  s.tap_rows = height(w);
  s.tap_columns = w.dims[w.rank - 1];
  s.stride_rows = attributes.stride.height;
  s.stride_columns = attributes.stride.width;
  s.padding_rows = attributes.padding.height;
  s.padding_columns = attributes.padding.width;
  s.dilation_rows = attributes.dilation.height;
  s.dilation_columns = attributes.dilation.width;
  s.bf16 = attributes.bf16;
  return s;
}

}  // namespace

ConvShape conv_shape(const Tensor& x, const Tensor& y, const Tensor& w,
                     const ops::ConvAttributes& attributes) {
  ConvShape s = without_plane(x, w, attributes);
  s.out = y.dims[1] / s.groups;
  s.y_rows = y.rank == 4 ? y.dims[2] : 1;
  s.y_columns = y.dims[y.rank - 1];
  return s;
}

ConvShape conv_shape(const Tensor& x, const Tensor& w, const ops::ConvAttributes& attributes) {
  ConvShape s = without_plane(x, w, attributes);
  s.out = w.dims[0] / s.groups;
  s.y_rows = ops::positions(s.x_rows, ops::reach_of(s.tap_rows, s.dilation_rows), s.stride_rows,
                            s.padding_rows);
  s.y_columns = ops::positions(s.x_columns, ops::reach_of(s.tap_columns, s.dilation_columns),
                               s.stride_columns, s.padding_columns);
  return s;
}

}  // namespace tandem
