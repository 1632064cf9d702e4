// chain: several elementwise ops in one pass over memory. A tile goes through its elements in
// blocks; each op is computed on a whole block by its own row function, so that results are those
// of the ops one at a time, and what lies between them stays in the first cache.
//
// Operands that broadcast: where the innermost dimension that all walk alike is long, a block is a
// piece of one row, and an operand there a run of elements or a single one. Where it is short, a
// block is made of whole rows, and such operands are written out to this thread's scratch memory,
// once for all blocks where these are alike.
#include "core/ops/chain.h"

#include "cpu/isa/kernels.h"
#include "cpu/isa/map.h"
#include "cpu/isa/rows.h"
#include "cpu/isa/tiles.h"

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

constexpr int kMaxInputs = ops::Chain::kMaxInputs;
constexpr int kMaxSteps = ops::Chain::kMaxSteps;
constexpr int64_t kBlock = 512;             // elements: the values of all steps fit in 20 KiB
constexpr int64_t kSlot = kBlock + kWidth;  // whole vectors are written
constexpr int64_t kLongRow = kBlock / 4;

enum class Reading : int32_t {
  kWhole,  ///< an element for each of the result's
  kOne,    ///< one element for all
  kAlike,  ///< the same for all blocks of whole rows
  kRows    ///< by the row
};

struct Input {
  Reading reading;
  int32_t repeated;  ///< handed to its ops as one element where it is one for a block
  int32_t slot;      ///< where it is written out, or -1
  Walk rows;         ///< through the outer dimensions
  int64_t inner;     ///< stride along the innermost one: 0 or 1
};

struct Step {
  RowFn unary;
  BinaryRowFn binary;   ///< with neither, `where`
  int32_t operands[3];  ///< inputs, then steps
  int32_t count;
  int32_t output;  ///< its number among the outputs, or -1
  int32_t slot;
  float attributes[2];
};

struct ChainParams {
  Input inputs[kMaxInputs];
  Step steps[kMaxSteps];
  int64_t n, tile, block;
  int64_t row;  ///< elements of the innermost dimension; n where there is no other
  int32_t input_count, step_count;
  bool long_rows, integer[kMaxInputs];
};

/// Where the operands of a block are.
struct Block {
  const float* values[kMaxInputs + kMaxSteps];
  bool one[kMaxInputs];
};

void fill(float* to, float value, int64_t n) {
  const Vec all = set1(value);
  for (int64_t i = 0; i < n; i += kWidth) store(to + i, all);
}

/// Some whole rows of an operand, one after the other; moves `at` on.
void write_rows(const Input& input, const float* from, Odometer& at, int64_t row, int64_t n,
                float* to) {
  for (int64_t i = 0; i < n; i += row, advance(input.rows, at)) {
    const float* const source = from + at.offset;
    if (input.inner == 0) {
      fill(to + i, *source, row);
    } else {
      for (int64_t j = 0; j < row; j += kWidth)
        store(to + i + j, load_partial(source + j, row - j));
    }
  }
}

/// A tile on its way through its blocks.
class Run {
 public:
  Run(const ChainParams& p, void* const* operands, float* scratch)
      : p_(p), operands_(operands), scratch_(scratch) {}

  void tile(int64_t begin, int64_t end) {
    begin_inputs(begin, end);
    for (int64_t at = begin; at < end;) {
      const int64_t n = length(at, end);
      for (int32_t k = 0; k < p_.input_count; ++k) place_input(k, at, n);
      for (int32_t s = 0; s < p_.step_count; ++s) compute(s, at, n);
      at += n;
    }
  }

 private:
  [[nodiscard]] int64_t length(int64_t at, int64_t end) const {
    if (!p_.long_rows) return least(p_.block, end - at);
    return least(least(kBlock, p_.row - at % p_.row), end - at);
  }
  [[nodiscard]] const float* input(int32_t k) const {
    return static_cast<const float*>(operands_[k]);
  }
  [[nodiscard]] float* slot(int32_t index) const { return scratch_ + index * kSlot; }

  void begin_inputs(int64_t begin, int64_t end) {
    for (int32_t k = 0; k < p_.input_count; ++k) {
      const Input& in = p_.inputs[k];
      block_.one[k] = in.reading == Reading::kOne && in.repeated != 0;
      block_.values[k] = in.slot >= 0 ? slot(in.slot) : input(k);
      if (in.reading == Reading::kOne && in.slot >= 0) fill(slot(in.slot), *input(k), kBlock);
      if (in.reading == Reading::kRows || in.reading == Reading::kAlike)
        at_[k] = odometer_at(in.rows, begin / p_.row);
      if (in.reading == Reading::kAlike)
        write_rows(in, input(k), at_[k], p_.row, least(p_.block, end - begin), slot(in.slot));
    }
  }

  void place_input(int32_t k, int64_t at, int64_t n) {
    const Input& in = p_.inputs[k];
    if (in.reading == Reading::kWhole) {
      block_.values[k] = input(k) + at;
    } else if (in.reading == Reading::kRows) {
      if (p_.long_rows) {
        place_piece(k, at, n);
      } else {
        write_rows(in, input(k), at_[k], p_.row, n, slot(in.slot));
      }
    }
  }

  /// A piece of a row, read where it is unless it is one element that has to be written out.
  void place_piece(int32_t k, int64_t at, int64_t n) {
    const Input& in = p_.inputs[k];
    const int64_t column = at % p_.row;
    const float* const source = input(k) + at_[k].offset + column * in.inner;
    if (in.slot >= 0) {
      fill(slot(in.slot), *source, n);
    } else {
      block_.values[k] = source;
      block_.one[k] = in.repeated != 0;
    }
    if (column + n == p_.row) advance(in.rows, at_[k]);
  }

  void compute(int32_t index, int64_t at, int64_t n) {
    const Step& step = p_.steps[index];
    float* const y = step.output >= 0
                         ? static_cast<float*>(operands_[p_.input_count + step.output]) + at
                         : slot(step.slot);
    const auto value = [&](int i) { return block_.values[step.operands[i]]; };
    const auto one = [&](int i) {
      return step.operands[i] < kMaxInputs && block_.one[step.operands[i]];
    };
    if (step.unary != nullptr) {
      step.unary(value(0), step.count > 1 ? value(1) : nullptr, y, n, step.attributes);
    } else if (step.binary != nullptr) {
      const Repeat repeat = one(0) ? Repeat::kA : one(1) ? Repeat::kB : Repeat::kNeither;
      step.binary(value(0), value(1), y, n, repeat);
    } else {
      where_row(value(0), step.operands[0] < kMaxInputs && p_.integer[step.operands[0]], value(1),
                value(2), y, n);
    }
    block_.values[kMaxInputs + index] = y;
  }

  const ChainParams& p_;
  void* const* operands_;
  float* scratch_;
  Block block_;
  Odometer at_[kMaxInputs];
};

// Operands: inputs, then outputs.
void chain_tile(const void* raw, void* const* operands, int64_t tile, const TileContext& context) {
  const auto& p = params_of<ChainParams>(raw);
  Run run(p, operands, static_cast<float*>(context.scratch));
  run.tile(tile * p.tile, least(p.n, (tile + 1) * p.tile));
}

/// The dimensions of the result, merged where all inputs walk two of them alike.
struct Dims {
  int64_t size[kMaxRank];
  int64_t strides[kMaxInputs][kMaxRank];
  int32_t rank;
};

int64_t stride_along(const Tensor& operand, const Tensor& out, int32_t d) {
  const int32_t own = d - (out.rank - operand.rank);
  return own < 0 || operand.dims[own] == 1 ? 0 : stride_of(operand, own);
}

Dims merged_dims(const NodeView& node) {
  const Tensor& out = *node.outputs[0];
  Dims dims{};
  for (int32_t d = 0; d < out.rank; ++d) {
    if (out.dims[d] == 1) continue;
    int64_t strides[kMaxInputs];
    bool merges = dims.rank > 0;
    for (int32_t k = 0; k < node.input_count; ++k) {
      strides[k] = stride_along(*node.inputs[k], out, d);
      merges = merges && dims.strides[k][dims.rank - 1] == strides[k] * out.dims[d];
    }
    if (merges) {
      dims.size[dims.rank - 1] *= out.dims[d];
    } else {
      dims.size[dims.rank++] = out.dims[d];
    }
    for (int32_t k = 0; k < node.input_count; ++k) dims.strides[k][dims.rank - 1] = strides[k];
  }
  if (dims.rank == 0) {
    dims.size[0] = 1;
    dims.rank = 1;
  }
  return dims;
}

Walk outer_walk(const Dims& dims, int32_t input) {
  Walk walk{};
  walk.rank = dims.rank - 1;
  for (int32_t d = 0; d < walk.rank; ++d) {
    walk.dims[d] = dims.size[d];
    walk.strides[d] = dims.strides[input][d];
  }
  return walk;
}

Reading reading_of(const ChainParams& p, const Input& input, const Tensor& tensor) {
  if (tensor.numel == p.n) return Reading::kWhole;
  if (tensor.numel == 1) return Reading::kOne;
  for (int32_t d = 0; d < input.rows.rank; ++d) {
    if (input.rows.strides[d] != 0) return Reading::kRows;
  }
  return p.long_rows ? Reading::kRows : Reading::kAlike;
}

/// Whether an input is one element throughout a block.
bool is_one(const ChainParams& p, int32_t operand) {
  if (operand >= kMaxInputs) return false;
  const Input& in = p.inputs[operand];
  return in.reading == Reading::kOne ||
         (in.reading == Reading::kRows && p.long_rows && in.inner == 0);
}

/// Whether all ops that read an input take it as one element: each has another operand that is not.
bool can_repeat(const ChainParams& p, int32_t input) {
  for (int32_t s = 0; s < p.step_count; ++s) {
    const Step& step = p.steps[s];
    for (int32_t i = 0; i < step.count; ++i) {
      if (step.operands[i] != input) continue;
      if (step.binary == nullptr || is_one(p, step.operands[1 - i])) return false;
    }
  }
  return true;
}

void plan_blocks(ChainParams& p, const Dims& dims) {
  p.row = dims.size[dims.rank - 1];
  p.long_rows = dims.rank > 1 && p.row >= kLongRow;
  p.block = dims.rank > 1 && !p.long_rows ? kBlock / p.row * p.row : kBlock;
  p.tile = p.long_rows ? kMapTile : kMapTile / p.block * p.block;
}

/// Returns how many slots of scratch memory inputs take.
int32_t plan_inputs(const NodeView& node, const Dims& dims, ChainParams& p) {
  for (int32_t k = 0; k < p.input_count; ++k) {
    Input& in = p.inputs[k];
    in.rows = outer_walk(dims, k);
    in.inner = dims.strides[k][dims.rank - 1];
    in.reading = reading_of(p, in, *node.inputs[k]);
    in.slot = -1;
    p.integer[k] = node.inputs[k]->dtype == DType::kInt32;
  }
  int32_t slots = 0;
  for (int32_t k = 0; k < p.input_count; ++k) {
    Input& in = p.inputs[k];
    const bool one = is_one(p, k);
    const bool written =
        in.reading == Reading::kAlike || (in.reading == Reading::kRows && !p.long_rows);
    in.repeated = one && can_repeat(p, k) ? 1 : 0;
    if (written || (one && in.repeated == 0)) in.slot = slots++;
  }
  return slots;
}

void plan_steps(const ops::Chain::Attributes& chain, ChainParams& p) {
  int32_t outputs = 1;
  for (int32_t s = 0; s < p.step_count; ++s) {
    const ops::ChainStep& from = chain.steps[s];
    Step& step = p.steps[s];
    step.unary = row_function(from.op);
    step.binary = binary_row_function(from.op);
    step.count = ops::chain_operands(from.op);
    for (int32_t i = 0; i < step.count; ++i) {
      const int32_t operand = from.operands[i];
      step.operands[i] = operand < 0 ? -1 - operand : kMaxInputs + operand;
    }
    step.attributes[0] = from.attributes.a;
    step.attributes[1] = from.attributes.b;
    const bool is_output = (chain.outputs >> s & 1U) != 0;
    step.output = !is_output ? -1 : s + 1 == p.step_count ? 0 : outputs++;
    step.slot = -1;
  }
}

/// Gives each step a slot that no value in it is read later from; returns how many there are. An op
/// may write where it reads.
int32_t plan_slots(ChainParams& p, int32_t first) {
  int32_t last_read[kMaxSteps];
  for (int32_t s = 0; s < p.step_count; ++s) {
    last_read[s] = s;
    for (int32_t i = 0; i < p.steps[s].count; ++i) {
      const int32_t from = p.steps[s].operands[i] - kMaxInputs;
      if (from >= 0) last_read[from] = s;
    }
  }
  int32_t slots = first;
  for (int32_t s = 0; s < p.step_count; ++s) {
    if (p.steps[s].output >= 0) continue;
    for (int32_t slot = first; p.steps[s].slot < 0; ++slot) {
      bool free = true;
      for (int32_t e = 0; e < s; ++e) free = free && !(p.steps[e].slot == slot && last_read[e] > s);
      if (free) p.steps[s].slot = slot;
      slots = slot + 1 > slots ? slot + 1 : slots;
    }
  }
  return slots;
}

double cost_of_chain(const NodeView& node, const ops::Chain::Attributes& chain,
                     const ChainParams& p) {
  constexpr double kMemory = 0.05, kCache = 0.1;  // nanoseconds an element
  double each = kMemory * node.output_count;
  for (int32_t k = 0; k < p.input_count; ++k) {
    if (p.inputs[k].reading == Reading::kWhole) each += kMemory;
    if (p.inputs[k].reading == Reading::kRows && !p.long_rows)
      each += kCache + 5.0 / static_cast<double>(p.row);
  }
  for (int32_t s = 0; s < p.step_count; ++s)
    each += (chain.steps[s].op == Op::where ? 0.3 : row_cost(chain.steps[s].op)) - kCache;
  return each * static_cast<double>(p.n);
}

}  // namespace

void launch_chain(const NodeView& node, Emitter& emit) {
  const auto& chain = attributes_of<ops::Chain::Attributes>(node);
  ChainParams p{};
  p.n = node.outputs[0]->numel;
  if (p.n == 0) return;
  p.input_count = node.input_count;
  p.step_count = chain.count;
  const Dims dims = merged_dims(node);
  plan_blocks(p, dims);
  plan_steps(chain, p);
  const int32_t slots = plan_slots(p, plan_inputs(node, dims, p));
  emit.scratch(slots * kSlot * static_cast<int64_t>(sizeof(float)));
  emit_step(emit, chain_tile, p, ceil_div(p.n, p.tile), cost_of_chain(node, chain, p));
}

double row_cost(Op op) {
  static constexpr struct {
    Op op;
    double cost;
  } kCosts[] = {
#define UNARY(name, A, a_default, B, b_default, forward, derivative, SAVED) \
  {Op::name, cost_of(#forward)}, {Op::name##Grad, cost_of(#derivative)},
#define BINARY(name, forward, gradient_a, gradient_b) {Op::name, cost_of(#forward)},
#include "core/elementwise.def"
  };
  for (const auto& known : kCosts) {
    if (known.op == op) return known.cost;
  }
  return cost_of("");
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
