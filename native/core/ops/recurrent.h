// lstm(x, w) and gru(x, w, b): the recurrences of torch.nn.LSTM and GRU over x [batch, time,
// gates * units], the inputs' share of all gates (one matrix product for all steps, with the
// biases), from states of zero. w is [gates * units, units]; gates are in the order i, f, g, o and
// r, z, n. b [3 * units] is the recurrent bias of gru, whose n gate scales it by r. The result is
// the hidden state of every step, [batch, time, units].
//
// Hochreiter and Schmidhuber, "Long Short-Term Memory" (1997), with forget gates; Cho et al.,
// "Learning Phrase Representations using RNN Encoder-Decoder" (2014), in the variant of cuDNN.
//
// Their gradients are fused, too: one pass back through time gives the gradients of all gates, and
// those of the weights are large products. What that pass reads, the forward op leaves out until
// a gradient asks for it.
#pragma once

#include "core/ops/base.h"

namespace tandem::ops {

struct RecurrentAttributes {
  bool keep = false;  ///< whether what the gradient reads is written, as further outputs
  bool bf16 = false;  ///< of the products of states with weights; see core/precision.h
  bool fp16 = false;  ///< the same
};

struct RecurrentGradAttributes {
  bool bf16 = false;  ///< the same of the gates' gradients
  bool fp16 = false;
};

struct Recurrent : Base {
  using Attributes = RecurrentAttributes;

  /// Checks x and w and returns [batch, time, units].
  static Shape states(InferContext& context, int64_t gates) {
    Shape shape = context.shape(0);
    const Shape w = context.shape(1);
    if (w.size() != 2 || w[1] < 1 || w[0] != checked_mul(gates, w[1])) {
      context.bad_shape("wHh [" + std::to_string(gates) + " * units, units]");
    }
    if (shape.size() != 3 || shape[1] < 1 || shape[2] != w[0]) {
      context.bad_shape("x [batch, time, " + std::to_string(gates) + " * units]");
    }
    shape[2] = w[1];
    return shape;
  }

  /// Outputs of the forward node when it keeps what its gradient reads.
  static std::vector<ValueId> kept(GradContext& context) {
    Graph& graph = context.graph();
    const ValueId y = context.node().outputs[0];
    AttributeStorage attributes = context.node().attributes;
    reinterpret_cast<Attributes*>(attributes.bytes.data())->keep = true;
    graph.extend(y, attributes);
    return graph.producer(y)->outputs;
  }

  /// The gradient of w from that of the gates' recurrent part: its product with the states before
  /// each step.
  static Expr weight_gradient(const Expr& d_gates, const Expr& y) {
    const Shape gates = shape_of(d_gates.tensor());
    const Shape states = shape_of(y.tensor());
    const int64_t rows = checked_mul(gates[0], gates[1]);
    const Expr last_left_out =
        apply(Op::slice, {y}, {{"axis", 1.0}, {"end", static_cast<double>(states[1] - 1)}});
    const Expr before =
        apply(Op::pad, {last_left_out},
              {{"before", std::vector<double>{0, 1, 0}}, {"after", std::vector<double>{0, 0, 0}}});
    return apply(Op::matmul,
                 {reshape(d_gates, {rows, gates[2]}), reshape(before, {rows, states[2]})},
                 {{"transA", true}});
  }
};

struct Lstm : Recurrent {
  static constexpr std::string_view kInputNames = "x wHh";
  static constexpr int kMinInputs = 2;
  static constexpr int kMaxInputs = 2;

  /// y, and when kept: the gates after their functions [batch, time, 4 * units], the cells [batch,
  /// time, units].
  static void infer(InferContext& context) {
    const Shape shape = states(context, 4);
    context.output(shape);
    if (!context.attributes<Attributes>().keep) return;
    context.output(context.shape(0));
    context.output(shape);
  }

  static void grad(GradContext& context) {
    const std::vector<ValueId> outputs = kept(context);
    Graph& graph = context.graph();
    const Expr d_gates = apply(Op::lstmGrad, {Expr(graph, outputs[1]), Expr(graph, outputs[2]),
                                              context.input(1), context.dy()});
    context.set(0, d_gates);
    if (context.wants(1)) context.set(1, weight_gradient(d_gates, context.output()));
  }
};

/// (gates, cells, w, dy) -> the gradient of x.
struct LstmGrad : Base {
  using Attributes = RecurrentGradAttributes;
  static constexpr int kMinInputs = 4;
  static constexpr int kMaxInputs = 4;
  static constexpr uint32_t kFlags = kInternal;
  static constexpr uint32_t kInPlace = 1;

  static void infer(InferContext& context) { context.output(context.shape(0)); }
};

struct Gru : Recurrent {
  static constexpr std::string_view kInputNames = "x wHh bHh";
  static constexpr int kMinInputs = 3;
  static constexpr int kMaxInputs = 3;

  /// y, and when kept: the gates after their functions [batch, time, 3 * units], and the recurrent
  /// part of n before r scales it [batch, time, units].
  static void infer(InferContext& context) {
    const Shape shape = states(context, 3);
    if (context.shape(2) != Shape{context.shape(1)[0]}) context.bad_shape("bHh [3 * units]");
    context.output(shape);
    if (!context.attributes<Attributes>().keep) return;
    context.output(context.shape(0));
    context.output(shape);
  }

  static void grad(GradContext& context) {
    const std::vector<ValueId> outputs = kept(context);
    Graph& graph = context.graph();
    const Expr y = context.output();
    const Expr d_x = apply(Op::gruGrad, {Expr(graph, outputs[1]), Expr(graph, outputs[2]), y,
                                         context.input(1), context.dy()});
    const Expr d_recurrent(graph, graph.producer(d_x.id())->outputs[1]);
    context.set(0, d_x);
    if (context.wants(1)) context.set(1, weight_gradient(d_recurrent, y));
    if (context.wants(2)) context.set(2, sum(d_recurrent, make_list({0, 1}), false));
  }
};

/// (gates, recurrent part of n, y, w, dy) -> the gradients of x and of the gates' recurrent part.
struct GruGrad : Base {
  using Attributes = RecurrentGradAttributes;
  static constexpr int kMinInputs = 5;
  static constexpr int kMaxInputs = 5;
  static constexpr uint32_t kFlags = kInternal;
  static constexpr uint32_t kInPlace = 1;

  static void infer(InferContext& context) {
    context.output(context.shape(0));
    context.output(context.shape(0));
  }
};

}  // namespace tandem::ops
