// What an op is: its attributes, the shapes it gives and its gradient. The table is generated from
// elementwise.def and ops.def; devices add kernels under the same names.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/attributes.h"
#include "core/op_list.h"
#include "core/shape.h"

namespace tandem {

class GradContext;

/// What infer() sees: the inputs' tensors and the attributes, which it may normalise.
class InferContext {
 public:
  InferContext(Op op, std::vector<std::optional<Tensor>> inputs, AttributeStorage& storage)
      : op_(op), inputs_(std::move(inputs)), storage_(storage) {}

  [[nodiscard]] Op op() const { return op_; }
  [[nodiscard]] size_t input_count() const { return inputs_.size(); }
  [[nodiscard]] bool has_input(size_t i) const {
    return i < inputs_.size() && inputs_[i].has_value();
  }
  [[nodiscard]] const Tensor& input(size_t i) const;
  [[nodiscard]] Shape shape(size_t i) const { return shape_of(input(i)); }
  template <typename T>
  [[nodiscard]] T& attributes() {
    return *reinterpret_cast<T*>(storage_.bytes.data());
  }
  void output(const Shape& shape, DType dtype = DType::kFloat32, uint8_t padding = 0) {
    outputs_.push_back(make_tensor(shape, dtype));
    outputs_.back().padding = padding;
  }
  [[nodiscard]] const std::vector<Tensor>& outputs() const { return outputs_; }

  /// Throws ERR_DTYPE unless input `i` has this type.
  void expect_dtype(size_t i, DType dtype) const;
  /// An axis of input 0, where negative ones count from the end, as one from 0. `what` is the
  /// attribute that it comes from. Throws ERR_ARGUMENT, and ERR_SHAPE for a scalar, which has none.
  [[nodiscard]] int64_t axis(int64_t given, const char* what = "axis") const;
  /// Sorted, distinct axes of input 0; an empty list means all of them.
  [[nodiscard]] IntList axes(const IntList& given, const char* what) const;
  /// The shape that both broadcast to, as NumPy does. Throws ERR_SHAPE.
  [[nodiscard]] Shape broadcast(const Shape& a, const Shape& b) const;
  /// Throws ERR_SHAPE: "expected ... for `op`, received [..]", the shapes of the first inputs, or
  /// of all: users know nothing of those that the library adds.
  [[noreturn]] void bad_shape(const std::string& expected, size_t count = SIZE_MAX) const;

 private:
  Op op_;
  std::vector<std::optional<Tensor>> inputs_;
  AttributeStorage& storage_;
  std::vector<Tensor> outputs_;
};

enum OpFlags : uint32_t {
  kNoFlags = 0,
  kAlias = 1,         ///< output 0 is input 0 under another shape: no kernel runs
  kEffect = 2,        ///< writes memory that is no output (optimizers): never removed
  kInternal = 4,      ///< made by passes, not offered to users
  kTrainingOnly = 8,  ///< identity of input 0 outside training (dropout)
  kReadsState = 16,   ///< reads what nodes with kWritesState leave in the StepState
  kWritesState = 32
};

struct OpInfo {
  const char* name;
  std::string_view input_names;  ///< see ops/base.h
  int min_inputs;
  int max_inputs;
  uint32_t flags;
  uint32_t in_place;   ///< bit i: output 0 may overwrite input i when that is its last use
  uint32_t any_dtype;  ///< bit i: input i need not be float32; infer() checks it
  const AttributeField* fields;
  size_t field_count;
  void (*defaults)(AttributeStorage&);
  void (*infer)(InferContext&);
  void (*grad)(GradContext&);  ///< null: the op has no gradient
  uint32_t writes = 0;         ///< bit i: the op changes input i (optimizers)
  /// Not null: changes the attributes of the op in a graph that is built for training.
  void (*in_training)(AttributeStorage&) = nullptr;
  /// Where the attributes say that products are of bfloat16; null: the op has none that could be.
  bool& (*bf16)(AttributeStorage&) = nullptr;
  /// The same of factors rounded to float16, for devices whose kernels round them.
  bool& (*fp16)(AttributeStorage&) = nullptr;
};

const OpInfo& info(Op op) noexcept;
inline const char* name(Op op) noexcept { return info(op).name; }
std::optional<Op> find_op(std::string_view name) noexcept;

/// Checks the number of inputs, parses attributes and infers; returns the outputs' tensors.
std::vector<Tensor> infer(Op op, const std::vector<std::optional<Tensor>>& inputs,
                          AttributeStorage& attributes);
AttributeStorage make_attributes(Op op, const AttributeList& values);

enum class Saved : uint8_t { kNone, kX, kY };
/// Whether `op` is an elementwise function of one value, and what its gradient reads.
bool is_unary(Op op) noexcept;
Saved saved_by(Op unary) noexcept;
/// relu -> reluGrad; only for unary ops and pointwise losses.
Op grad_op(Op op) noexcept;
/// reluGrad -> relu when `op` is the gradient of a unary op.
std::optional<Op> unary_of_grad(Op op) noexcept;

}  // namespace tandem
