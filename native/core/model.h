// A model as data: the description of its graph, as it comes from JavaScript or from a file, and
// the arena of its parameters. Descriptions are not trusted: instantiate() checks all of them.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/backend.h"
#include "core/quantize.h"

namespace tandem {

struct InputDescription {
  std::string name;
  Shape shape;  ///< -1 at axis 0: the free batch dimension
  DType dtype = DType::kFloat32;
};

enum class InitializerKind : uint8_t { kUniform, kNormal, kTruncatedNormal, kConstant };

struct Initializer {
  InitializerKind kind = InitializerKind::kConstant;
  double a = 0;  ///< low, mean or the constant
  double b = 0;  ///< high or the deviation
};

struct ParameterDescription {
  std::string name;
  Shape shape;
  bool trainable = true;
  Initializer initializer;
  /// Signed bytes in memory, for quantized nodes alone, whose scales say what they stand for.
  bool is_bytes = false;
};

/// A parameter as it lies in memory. Throws ERR_SHAPE.
Tensor stored_tensor(const ParameterDescription& parameter);

struct NodeDescription {
  std::string op;
  std::vector<int64_t> inputs;
  AttributeList attributes;
  std::shared_ptr<const Quantization> quantization = nullptr;  ///< of inference; null: none
};

struct GraphDescription {
  std::vector<InputDescription> inputs;
  std::vector<ParameterDescription> parameters;
  std::vector<Constant> constants;
  std::vector<NodeDescription> nodes;
  std::vector<int64_t> outputs;
};

/// The graph at `batch` rows. Outside training, ops that only act in training are left out. `ids`,
/// if given, receives the value of each number of the description. Throws ERR_ARGUMENT for unknown
/// ops, cycles and numbers that are out of range.
Graph instantiate(const GraphDescription& description, int64_t batch, bool training,
                  std::vector<ValueId>* ids = nullptr);

/// Rows at which TypeScript has known the shapes of every value (lib/graph/value.ts), and that most
/// numbers divide: a graph need not have any at one row, of which a reshape may make less than one.
inline constexpr int64_t kSampleRows = 720720;
inline constexpr int64_t kMoreSampleRows = 1081080;

/// Elements of input `index` in one row (all of them when its batch is fixed).
int64_t row_elements(const InputDescription& input);
/// Whether any input has a free batch dimension.
bool has_free_batch(const GraphDescription& description);

ParameterLayout make_layout(const std::vector<ParameterDescription>& parameters);

/// The parameters of a model in the host's memory, initialised by their descriptions.
class ParameterStore {
 public:
  ParameterStore(std::vector<ParameterDescription> parameters, uint64_t seed);
  [[nodiscard]] const std::vector<ParameterDescription>& descriptions() const {
    return descriptions_;
  }
  [[nodiscard]] const ParameterLayout& layout() const { return layout_; }
  /// The host's copy.
  [[nodiscard]] const Memory& memory() const { return memory_; }
  /// The parameters in memory of `backend`, one copy for all that ask while one of them keeps it:
  /// the host's own where the backend shares it, otherwise a copy of the host's as it is at the
  /// first request. One thread at a time.
  [[nodiscard]] Memory resident(const Backend& backend) const;
  /// Throws ERR_ARGUMENT unless the graph has just these parameters.
  void check_matches(const GraphDescription& graph) const;

 private:
  std::vector<ParameterDescription> descriptions_;
  ParameterLayout layout_;
  Memory memory_;
  mutable std::map<const Backend*, std::weak_ptr<std::byte>> resident_;
};

}  // namespace tandem
