#include "core/op.h"

#include <algorithm>
#include <new>
#include <type_traits>

#include "core/all_ops.h"
#include "core/autodiff.h"
#include "core/limit_error.h"

namespace tandem {
namespace {

// ---- elementwise ops, from elementwise.def --------------------------------------------------

void infer_unary(InferContext& context) { context.output(context.shape(0)); }

void infer_unary_grad(InferContext& context) {
  if (context.input_count() == 2 && !same_shape(context.input(0), context.input(1))) {
    context.bad_shape("operands of one shape");
  }
  context.output(context.shape(0));
}

void infer_binary(InferContext& context) {
  context.output(context.broadcast(context.shape(0), context.shape(1)));
}

void infer_loss(InferContext& context) {
  if (!same_shape(context.input(0), context.input(1)))
    context.bad_shape("x and target of one shape");
  ops::check_weights(context, 2, context.shape(0));
  if (context.has_input(2)) ops::check_divisor(context, 3);
  context.output({});
}

void infer_loss_grad(InferContext& context) { context.output(context.shape(0)); }

template <Op op, Saved saved>
void grad_unary(GradContext& context) {
  const Expr dy = context.dy();
  const AttributeStorage& attributes = context.node().attributes;
  if (saved == Saved::kNone) {
    context.set(0, apply(grad_op(op), {dy}, attributes));
  } else {
    context.set(0,
                apply(grad_op(op), {dy, saved == Saved::kX ? context.input(0) : context.output()},
                      attributes));
  }
}

template <Op op>
void grad_loss(GradContext& context) {
  const auto gradient = [&](Op which) {
    return apply(
        which,
        {context.input(0), context.input(1), context.dy(), context.input(2), context.input(3)},
        context.node().attributes);
  };
  const Op for_x = grad_op(op);
  const Op for_target = static_cast<Op>(static_cast<int>(op) + 2);
  if (context.wants(0)) context.set(0, gradient(for_x));
  if (context.wants(1)) context.set(1, gradient(for_target));
}

template <Op op>
Expr binary_gradient(GradContext& context, int wrt);

// The gradient expressions of elementwise.def, read as graph ops. `none` marks ops without one.
const Expr none;

#define BINARY(name, forward, gradient_a, gradient_b)                               \
  template <>                                                                       \
  Expr binary_gradient<Op::name>([[maybe_unused]] GradContext & context, int wrt) { \
    [[maybe_unused]] const Expr a = context.input(0);                               \
    [[maybe_unused]] const Expr b = context.input(1);                               \
    [[maybe_unused]] const Expr y = context.output();                               \
    [[maybe_unused]] const Expr dy = context.dy();                                  \
    return wrt == 0 ? (gradient_a) : (gradient_b);                                  \
  }
#include "core/elementwise.def"

template <Op op>
void grad_binary(GradContext& context) {
  for (const int i : {0, 1}) {
    if (!context.wants(static_cast<size_t>(i))) continue;
    const Expr gradient = binary_gradient<op>(context, i);
    if (!gradient.empty()) {
      context.set(static_cast<size_t>(i),
                  sum_to(gradient, shape_of(context.input(static_cast<size_t>(i)).tensor())));
    }
  }
}

template <int kind>
void elementwise_defaults(AttributeStorage& storage) {
  ElementwiseAttributes defaults{};
  switch (kind) {
#define UNARY(name, A, a_default, B, b_default, forward, derivative, SAVED) \
  case static_cast<int>(Op::name):                                          \
  case static_cast<int>(Op::name##Grad):                                    \
    defaults = {a_default, b_default};                                      \
    break;
#define LOSS(name, A, a_default, value, gradient_x, gradient_t) \
  case static_cast<int>(Op::name):                              \
    defaults = {a_default, 0.0F};                               \
    break;
#include "core/elementwise.def"
    default:
      break;
  }
  new (storage.bytes.data()) ElementwiseAttributes(defaults);
}

constexpr AttributeField elementwise_field(const char* name, size_t offset) {
  return {name, AttributeType::kFloat, offset, false};
}

template <Op op>
struct ElementwiseFields;

#define UNARY(name, A, a_default, B, b_default, forward, derivative, SAVED)  \
  template <>                                                                \
  struct ElementwiseFields<Op::name> {                                       \
    static constexpr const char* a = A;                                      \
    static constexpr const char* b = B;                                      \
    static constexpr AttributeField table[] = {                              \
        elementwise_field(A, offsetof(ElementwiseAttributes, a)),            \
        elementwise_field(B, offsetof(ElementwiseAttributes, b))};           \
    static constexpr size_t count = b != nullptr ? 2 : a != nullptr ? 1 : 0; \
  };
#define LOSS(name, A, a_default, value, gradient_x, gradient_t)    \
  template <>                                                      \
  struct ElementwiseFields<Op::name> {                             \
    static constexpr const char* a = A;                            \
    static constexpr AttributeField table[] = {                    \
        elementwise_field(A, offsetof(ElementwiseAttributes, a))}; \
    static constexpr size_t count = a != nullptr ? 1 : 0;          \
  };
#include "core/elementwise.def"

template <Op op>
constexpr OpInfo unary_info(const char* name, Saved saved) {
  const uint32_t in_place = 1;
  const auto grad = saved == Saved::kX   ? &grad_unary<op, Saved::kX>
                    : saved == Saved::kY ? &grad_unary<op, Saved::kY>
                                         : &grad_unary<op, Saved::kNone>;
  return {name,
          "x",
          1,
          1,
          kNoFlags,
          in_place,
          0,
          ElementwiseFields<op>::table,
          ElementwiseFields<op>::count,
          &elementwise_defaults<static_cast<int>(op)>,
          &infer_unary,
          grad};
}

template <Op op>
constexpr OpInfo unary_grad_info(const char* name, Saved saved) {
  const int inputs = saved == Saved::kNone ? 1 : 2;
  return {name,
          "dy saved",
          inputs,
          inputs,
          kInternal,
          3,
          0,
          nullptr,
          0,
          &elementwise_defaults<static_cast<int>(op)>,
          &infer_unary_grad,
          nullptr};
}

template <Op op>
constexpr OpInfo binary_info(const char* name) {
  // Parts of the gradient of pow. They have slopes themselves, but nobody differentiates twice, and
  // a graph that had them would train with slopes of 0.
  const bool internal = op == Op::powSlope || op == Op::xlogy;
  return {name,
          "a b",
          2,
          2,
          internal ? kInternal : kNoFlags,
          3,
          0,
          nullptr,
          0,
          &elementwise_defaults<static_cast<int>(op)>,
          &infer_binary,
          internal ? nullptr : &grad_binary<op>};
}

template <Op op>
constexpr OpInfo loss_info(const char* name) {
  return {name,
          "x target weights divisor",
          2,
          4,
          kNoFlags,
          0,
          0,
          ElementwiseFields<op>::table,
          ElementwiseFields<op>::count,
          &elementwise_defaults<static_cast<int>(op)>,
          &infer_loss,
          &grad_loss<op>};
}

template <Op op>
constexpr OpInfo loss_grad_info(const char* name) {
  return {name,
          "x target dy weights divisor",
          3,
          5,
          kInternal,
          3,
          0,
          nullptr,
          0,
          &elementwise_defaults<static_cast<int>(op)>,
          &infer_loss_grad,
          nullptr};
}

// ---- the other ops, from ops.def -------------------------------------------------------------

template <typename T>
void defaults_of(AttributeStorage& storage) {
  using Attributes = typename T::Attributes;
  static_assert(sizeof(Attributes) <= sizeof(storage.bytes));
  static_assert(std::is_trivially_copyable_v<Attributes>);
  new (storage.bytes.data()) Attributes{};
}

template <typename T>
bool& bf16_of(AttributeStorage& storage) {
  auto& attributes = *reinterpret_cast<typename T::Attributes*>(storage.bytes.data());
  if constexpr (requires { attributes.bf16; }) {
    return attributes.bf16;
  } else {
    return attributes.conv.bf16;
  }
}

template <typename T>
bool& fp16_of(AttributeStorage& storage) {
  auto& attributes = *reinterpret_cast<typename T::Attributes*>(storage.bytes.data());
  if constexpr (requires { attributes.fp16; }) {
    return attributes.fp16;
  } else {
    return attributes.conv.fp16;
  }
}

template <typename T>
constexpr OpInfo op_info(const char* name) {
  OpInfo op{name,        T::kInputNames, T::kMinInputs, T::kMaxInputs,  T::kFlags,
            T::kInPlace, T::kAnyDType,   T::kFields,    T::kFieldCount, &defaults_of<T>,
            &T::infer,   T::grad,        T::kWrites,    T::in_training};
  if constexpr (
      requires(typename T::Attributes attributes) { attributes.bf16; } ||
      requires(typename T::Attributes attributes) { attributes.conv.bf16; }) {
    op.bf16 = &bf16_of<T>;
  }
  if constexpr (
      requires(typename T::Attributes attributes) { attributes.fp16; } ||
      requires(typename T::Attributes attributes) { attributes.conv.fp16; }) {
    op.fp16 = &fp16_of<T>;
  }
  return op;
}

constexpr OpInfo kTable[] = {
#define UNARY(name, A, a_default, B, b_default, forward, derivative, SAVED) \
  unary_info<Op::name>(#name, Saved::SAVED),                                \
      unary_grad_info<Op::name##Grad>(#name "Grad", Saved::SAVED),
#define BINARY(name, forward, gradient_a, gradient_b) binary_info<Op::name>(#name),
#define LOSS(name, A, a_default, value, gradient_x, gradient_t)             \
  loss_info<Op::name>(#name), loss_grad_info<Op::name##Grad>(#name "Grad"), \
      loss_grad_info<Op::name##GradTarget>(#name "GradTarget"),
#include "core/elementwise.def"
#define OP(name, Type) op_info<ops::Type>(#name),
#include "core/ops.def"
};

static_assert(std::size(kTable) == kOpCount);

constexpr size_t count_names(std::string_view names) {
  return 1 + static_cast<size_t>(std::count(names.begin(), names.end(), ' '));
}

constexpr bool all_inputs_have_names() {
  return std::all_of(std::begin(kTable), std::end(kTable), [](const OpInfo& op) {
    const bool offered = (op.flags & (kInternal | kEffect)) == 0;
    const size_t wanted = op.input_names.ends_with("[]") ? 1 : static_cast<size_t>(op.max_inputs);
    return !offered || count_names(op.input_names) == wanted;
  });
}

static_assert(all_inputs_have_names(), "an op that users apply has inputs without names");

/// "x", "values[1]", or "input 2" for ops that users do not apply.
std::string input_name(Op op, size_t i) {
  std::string_view names = info(op).input_names;
  if (names.ends_with("[]"))
    return std::string(names.substr(0, names.size() - 2)) + "[" + std::to_string(i) + "]";
  if (i >= count_names(names)) return "input " + std::to_string(i);
  for (; i > 0; --i) names.remove_prefix(names.find(' ') + 1);
  return std::string(names.substr(0, names.find(' ')));
}

/// 1 for a unary op, 2 for its gradient, 0 for others; with what the gradient reads.
struct UnaryRole {
  uint8_t role;
  Saved saved;
};

constexpr UnaryRole kUnaryRoles[] = {
#define UNARY(name, A, a_default, B, b_default, forward, derivative, SAVED) \
  {1, Saved::SAVED}, {2, Saved::SAVED},
#include "core/elementwise.def"
};

const UnaryRole* unary_role(Op op) noexcept {
  const auto index = static_cast<size_t>(op);
  return index < std::size(kUnaryRoles) ? &kUnaryRoles[index] : nullptr;
}

}  // namespace

const OpInfo& info(Op op) noexcept { return kTable[static_cast<size_t>(op)]; }

std::optional<Op> find_op(std::string_view name) noexcept {
  for (int i = 0; i < kOpCount; ++i) {
    if (name == kTable[i].name) return static_cast<Op>(i);
  }
  return std::nullopt;
}

bool is_unary(Op op) noexcept {
  const UnaryRole* role = unary_role(op);
  return role != nullptr && role->role == 1;
}

Saved saved_by(Op unary) noexcept { return unary_role(unary)->saved; }

Op grad_op(Op op) noexcept { return static_cast<Op>(static_cast<int>(op) + 1); }

std::optional<Op> unary_of_grad(Op op) noexcept {
  const UnaryRole* role = unary_role(op);
  if (role == nullptr || role->role != 2) return std::nullopt;
  return static_cast<Op>(static_cast<int>(op) - 1);
}

const Tensor& InferContext::input(size_t i) const {
  if (!has_input(i)) {
    fail(ErrorCode::kArgument,
         "expected `" + input_name(op_, i) + "` of `" + name(op_) + "`, received none");
  }
  return *inputs_[i];
}

void InferContext::expect_dtype(size_t i, DType dtype) const {
  if (input(i).dtype != dtype) {
    fail(ErrorCode::kDType, std::string("expected ") + tandem::name(dtype) + " for `" +
                                input_name(op_, i) + "` of `" + name(op_) + "`, received " +
                                tandem::name(input(i).dtype) + " " + to_string(input(i)));
  }
}

int64_t InferContext::axis(int64_t given, const char* what) const {
  const int64_t rank = input(0).rank;
  if (rank == 0) bad_shape("x of at least one dimension");
  if (given < -rank || given >= rank) {
    fail(ErrorCode::kArgument, std::string("expected `") + what + "` in [" + std::to_string(-rank) +
                                   ", " + std::to_string(rank) + ") for `" + name(op_) +
                                   "`, received " + std::to_string(given) + " for " +
                                   to_string(input(0)));
  }
  return given < 0 ? given + rank : given;
}

IntList InferContext::axes(const IntList& given, const char* what) const {
  bool chosen[kMaxRank] = {};
  for (int i = 0; i < given.count; ++i) {
    const int64_t at = axis(given.values[i], what);
    if (chosen[at]) {
      fail(ErrorCode::kArgument, std::string("expected distinct `") + what + "` for `" + name(op_) +
                                     "`, received axis " + std::to_string(at) + " twice");
    }
    chosen[at] = true;
  }
  IntList out{};
  for (int64_t at = 0; at < input(0).rank; ++at) {
    if (given.count == 0 || chosen[at]) out.values[out.count++] = at;
  }
  return out;
}

Shape InferContext::broadcast(const Shape& a, const Shape& b) const {
  const std::optional<Shape> shape = broadcast_shapes(a, b);
  if (!shape) bad_shape("shapes that broadcast");
  return *shape;
}

void InferContext::bad_shape(const std::string& expected, size_t count) const {
  std::string received;
  for (size_t i = 0; i < std::min(count, inputs_.size()); ++i) {
    if (!inputs_[i]) continue;
    if (!received.empty()) received += ", ";
    received += input_name(op_, i) + " " + to_string(*inputs_[i]);
  }
  fail(ErrorCode::kShape,
       "expected " + expected + " for `" + name(op_) + "`, received " + received);
}

std::vector<Tensor> infer(Op op, const std::vector<std::optional<Tensor>>& inputs,
                          AttributeStorage& attributes) {
  const OpInfo& what = info(op);
  const auto count = static_cast<int>(inputs.size());
  if (count < what.min_inputs || count > what.max_inputs) {
    fail(ErrorCode::kArgument, "expected " + std::to_string(what.min_inputs) + " to " +
                                   std::to_string(what.max_inputs) + " inputs of " + what.name +
                                   ", received " + std::to_string(count));
  }
  InferContext context(op, inputs, attributes);
  for (size_t i = 0; i < inputs.size(); ++i) {
    const bool checked_by_op = (what.any_dtype >> std::min<size_t>(i, 31) & 1U) != 0;
    if (inputs[i] && !checked_by_op) context.expect_dtype(i, DType::kFloat32);
  }
  try {
    what.infer(context);
  } catch (const LimitError& error) {
    context.bad_shape(error.expected());
  }
  return context.outputs();
}

AttributeStorage make_attributes(Op op, const AttributeList& values) {
  AttributeStorage storage;
  const OpInfo& what = info(op);
  what.defaults(storage);
  parse_attributes(what.name, what.fields, what.field_count, values, storage);
  return storage;
}

}  // namespace tandem
