// attention(q, k, v, mask?, {heads, causal}): y = softmax(q k^T / sqrt(depth) + mask) v for each
// head: Vaswani et al., "Attention Is All You Need" (2017). Scores are computed in pieces and never
// stored, with the softmax kept up to date from piece to piece: Dao et al., "FlashAttention"
// (2022).
//
// heads = 0: q [batch, heads, time, depth], k [batch, heads, keys, depth], v [batch, heads, keys,
// value depth]; y as q with v's depth. heads > 0: the heads lie side by side in the last dimension,
//   q, k, v each [batch, time, heads * depth], or
//   q and one value of keys then values [batch, keys, 2 * heads * depth], or
//   one value of queries, keys and values [batch, time, 3 * heads * depth];
// and so do those of y, [batch, time, heads * value depth].
//
// `causal`: query i sees keys 0 to i. The mask is added to the scores, broadcast to [batch, heads,
// time, keys]. A query whose scores are all -infinity gets zeros, and gives no gradient.
// Output 1, [batch, heads, time, 2], is for the gradient: the largest score of each row, before the
// scale where there is no mask, and the logarithm of the sum of the exponentials relative to it.
// One number, the sum of the two, would lose the second where scores are large.
#pragma once

#include "core/ops/base.h"

namespace tandem::ops {

struct AttentionAttributes {
  int64_t heads = 0;
  bool causal = false;
  bool mask_gradient = false;  ///< of attentionGrad: output the gradient of the mask, too
  bool bf16 = false;           ///< see core/precision.h
  bool fp16 = false;           ///< the same
};

/// Sizes of an attention, from the shapes of its operands.
struct AttentionSizes {
  int64_t batch, heads, time, keys, depth, value_depth;
};

struct Attention : Base {
  using Attributes = AttentionAttributes;
  static constexpr std::string_view kInputNames = "q k v mask";
  static constexpr int kMinInputs = 1;
  static constexpr int kMaxInputs = 4;
  static constexpr AttributeField kFieldTable[] = {
      {"heads", AttributeType::kInteger, offsetof(Attributes, heads), false},
      {"causal", AttributeType::kBoolean, offsetof(Attributes, causal), false},
  };
  static constexpr const AttributeField* kFields = kFieldTable;
  static constexpr size_t kFieldCount = 2;

  static AttentionSizes sizes(const InferContext& context, int64_t heads) {
    const AttentionSizes s = heads == 0 ? separate_heads(context) : joined_heads(context, heads);
    if (s.time < 1 || s.keys < 1 || s.depth < 1 || s.value_depth < 1)
      context.bad_shape("at least one query, one key and one number a head");
    return s;
  }

  static void infer(InferContext& context) {
    const int64_t heads = context.attributes<Attributes>().heads;
    if (heads < 0) {
      fail(ErrorCode::kArgument,
           "expected `heads` of 0 or more for attention, received " + std::to_string(heads));
    }
    const AttentionSizes s = sizes(context, heads);
    if (context.has_input(3)) check_mask(context, s);
    if (heads == 0) {
      context.output({s.batch, s.heads, s.time, s.value_depth});
    } else {
      context.output({s.batch, s.time, checked_mul(s.heads, s.value_depth)});
    }
    context.output({s.batch, s.heads, s.time, 2});
  }

  static void grad(GradContext& context) {
    AttributeStorage attributes = context.node().attributes;
    const bool wants_mask = context.wants(3);
    reinterpret_cast<Attributes*>(attributes.bytes.data())->mask_gradient = wants_mask;
    const Expr first = apply(Op::attentionGrad,
                             {context.input(0), context.input(1), context.input(2),
                              context.input(3), context.output(0), context.output(1), context.dy()},
                             attributes);
    const std::vector<ValueId> outputs = context.graph().producer(first.id())->outputs;
    size_t next = 0;
    for (size_t i = 0; i < 3; ++i) {
      if (!context.input(i).empty()) context.set(i, {context.graph(), outputs[next++]});
    }
    if (wants_mask) context.set(3, {context.graph(), outputs[next]});
  }

 protected:
  static void check_mask(const InferContext& context, const AttentionSizes& s) {
    const Shape full{s.batch, s.heads, s.time, s.keys};
    const Shape mask = context.shape(3);
    bool fits = mask.size() <= full.size();
    for (size_t i = 1; fits && i <= mask.size(); ++i) {
      const int64_t length = mask[mask.size() - i];
      fits = length == 1 || length == full[full.size() - i];
    }
    if (!fits) context.bad_shape("a mask that broadcasts to " + to_string(full));
  }

 private:
  static AttentionSizes separate_heads(const InferContext& context) {
    const char* expected =
        "q [batch, heads, time, depth], k [batch, heads, keys, depth] and v [batch, heads, keys, "
        "value depth]";
    if (!context.has_input(1) || !context.has_input(2)) context.bad_shape(expected);
    const Shape q = context.shape(0);
    const Shape k = context.shape(1);
    const Shape v = context.shape(2);
    const bool fits = q.size() == 4 && k.size() == 4 && v.size() == 4 && q[0] == k[0] &&
                      q[1] == k[1] && q[3] == k[3] && v[0] == k[0] && v[1] == k[1] && v[2] == k[2];
    if (!fits) context.bad_shape(expected);
    return {q[0], q[1], q[2], k[2], q[3], v[3]};
  }

  static AttentionSizes joined_heads(const InferContext& context, int64_t heads) {
    const Shape q = context.shape(0);
    const Shape k = context.has_input(1) ? context.shape(1) : q;
    const Shape v = context.has_input(2) ? context.shape(2) : k;
    // how many of queries, keys and values lie side by side
    const int64_t q_parts = context.has_input(1) ? 1 : 3;
    const int64_t k_parts = context.has_input(2) ? 1 : context.has_input(1) ? 2 : 3;
    const int64_t v_parts = k_parts;
    const auto divides = [&](const Shape& shape, int64_t parts) {
      return shape.size() == 3 && shape[2] % parts == 0 && shape[2] / parts % heads == 0;
    };
    const bool whole = (context.has_input(1) || !context.has_input(2)) && divides(q, q_parts) &&
                       divides(k, k_parts) && divides(v, v_parts);
    const bool fits =
        whole && q[0] == k[0] && k[0] == v[0] && k[1] == v[1] && q[2] / q_parts == k[2] / k_parts;
    if (!fits) {
      context.bad_shape("[batch, time, heads * depth] for " + std::to_string(heads) +
                        " heads, queries, keys and values apart or side by side");
    }
    return {q[0], heads, q[1], k[1], q[2] / q_parts / heads, v[2] / v_parts / heads};
  }
};

/// (q, k?, v?, mask?, y, output 1, dy) -> gradients of q, k and v as far as they are apart, and
/// of the mask when `mask_gradient`.
struct AttentionGrad : Base {
  using Attributes = AttentionAttributes;
  static constexpr uint32_t kFlags = kInternal;
  static constexpr int kMinInputs = 7;
  static constexpr int kMaxInputs = 7;

  static void infer(InferContext& context) {
    for (size_t i = 0; i < 3; ++i) {
      if (context.has_input(i)) context.output(context.shape(i));
    }
    if (context.attributes<Attributes>().mask_gradient) context.output(context.shape(3));
  }
};

}  // namespace tandem::ops
