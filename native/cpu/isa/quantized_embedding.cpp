// quantizedEmbedding: rows of a table of signed bytes by number, times the scale of their row;
// dequantizeWeight: all rows.
#include "core/ops/quantized.h"
#include "cpu/convert.h"
#include "cpu/isa/quantized_weight.h"

TANDEM_CONVERT_DECLARE(TANDEM_ISA_NS)

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

struct Table {
  int64_t rows, count, dim, per_tile;
  int64_t scales_at;
  const float* scales;  // while packing
  int32_t packed;
};

// Operands: the table as floats, the packed one, the table as bytes.
void pack_tile(const void* raw, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<Table>(raw);
  const Range range = piece(tile, p.per_tile, p.count);
  const WeightSource table = weight_source(operands);
  auto* const packed = static_cast<char*>(operands[1]);
  auto* const scales = reinterpret_cast<float*>(packed + p.scales_at);
  if (table.bytes != nullptr) {
    std::memcpy(packed + range.begin * p.dim, table.bytes + range.begin * p.dim,
                static_cast<size_t>((range.end - range.begin) * p.dim));
  }
  for (int64_t i = range.begin; i < range.end; ++i) {
    scales[i] = p.scales[i];
    for (int64_t j = 0; j < p.dim && table.bytes == nullptr; ++j)
      packed[i * p.dim + j] = static_cast<char>(byte_of(table, i * p.dim + j, p.scales[i]));
  }
}

void lookup_tile(const void* raw, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<Table>(raw);
  const auto* const index = static_cast<const int32_t*>(operands[0]);
  const auto* const packed = static_cast<const int8_t*>(operands[p.packed]);
  const auto* const scales =
      reinterpret_cast<const float*>(static_cast<const char*>(operands[p.packed]) + p.scales_at);
  auto* const out = static_cast<float*>(operands[2]);
  const Range range = piece(tile, p.per_tile, p.rows);
  for (int64_t i = range.begin; i < range.end; ++i) {
    const int64_t row = index[i];
    float* const to = out + i * p.dim;
    if (row >= 0 && row < p.count) {
      dequantize_s8(packed + row * p.dim, to, p.dim, {scales[row], 0});
    } else {
      for (int64_t j = 0; j < p.dim; ++j) to[j] = __builtin_nanf("");
    }
  }
}

void all_rows_tile(const void* raw, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<Table>(raw);
  const auto* const packed = static_cast<const int8_t*>(operands[p.packed]);
  const auto* const scales =
      reinterpret_cast<const float*>(static_cast<const char*>(operands[p.packed]) + p.scales_at);
  auto* const out = static_cast<float*>(operands[1]);
  const Range range = piece(tile, p.per_tile, p.count);
  for (int64_t i = range.begin; i < range.end; ++i)
    dequantize_s8(packed + i * p.dim, out + i * p.dim, p.dim, {scales[i], 0});
}

/// Packs input `input`, a weight whose outermost axis has scales.
Table table_of(const NodeView& node, int32_t input, int32_t number, const float* scales,
               Emitter& emit) {
  constexpr uint64_t kFirstLayout = 16;
  const Tensor& w = *node.inputs[input];
  Table p{};
  p.count = w.dims[0];
  p.dim = w.numel / most(p.count, 1);
  p.per_tile = most(1, kMoveTile / most(p.dim, 1));
  p.scales = scales;
  p.scales_at = round_up(w.numel, 16);
  p.packed = emit.frozen(input, kFirstLayout + static_cast<uint64_t>(number), pack_tile, &p,
                         sizeof p, ceil_div(p.count, p.per_tile), p.scales_at + p.count * 4);
  return p;
}

}  // namespace

void launch_dequantizeWeight(const NodeView& node, Emitter& emit) {
  const auto& [number, scales] = attributes_of<ops::ByteWeight>(node);
  const Table p = table_of(node, 0, number, scales, emit);
  emit_step(emit, all_rows_tile, p, ceil_div(p.count, p.per_tile),
            kMoveCost * static_cast<double>(node.outputs[0]->numel));
}

void launch_quantizedEmbedding(const NodeView& node, Emitter& emit) {
  const auto& [number, scales] = attributes_of<ops::QuantizedEmbedding::Attributes>(node);
  Table p = table_of(node, 1, number, scales, emit);
  p.rows = node.inputs[0]->numel;
  emit_step(emit, lookup_tile, p, ceil_div(p.rows, p.per_tile),
            kMoveCost * static_cast<double>(node.outputs[0]->numel));
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
