#include "cuda/host/products.h"

#include <cmath>
#include <limits>
#include <numeric>
#include <optional>
#include <string>

#include "core/error.h"
#include "cuda/host/choice_file.h"

namespace tandem::cuda {
namespace {

constexpr int64_t kSumBytes = 4;

void check(lt::Status status, const char* what) {
  if (status == lt::kSuccess) return;
  fail(ErrorCode::kDevice, std::string("expected cuBLASLt to make ") + what + ", received status " +
                               std::to_string(status));
}

struct Types {
  lt::ComputeType compute;
  lt::DataType scale, in, out;
};

Types types_of(ProductType type) {
  switch (type) {
    case ProductType::kTf32:
      return {lt::kCompute32FFastTf32, lt::kR32F, lt::kR32F, lt::kR32F};
    case ProductType::kBfloat16:
      return {lt::kCompute32F, lt::kR32F, lt::kR16BF, lt::kR32F};
    case ProductType::kFloat16:
      return {lt::kCompute32F, lt::kR32F, lt::kR16F, lt::kR32F};
    case ProductType::kInt8:
      return {lt::kCompute32I, lt::kR32I, lt::kR8I, lt::kR32I};
    case ProductType::kFloat32:
      break;
  }
  return {lt::kCompute32F, lt::kR32F, lt::kR32F, lt::kR32F};
}

lt::Epilogue epilogue_of(const Product& product) {
  switch (product.epilogue) {
    case ProductEpilogue::kGelu:
      return product.bias ? lt::kGeluBias : lt::kGelu;
    case ProductEpilogue::kGeluSaving:
      return product.bias ? lt::kGeluAuxBias : lt::kGeluAux;
    case ProductEpilogue::kGeluGradient:
      return lt::kDGelu;
    case ProductEpilogue::kRelu:  // see library_has()
    case ProductEpilogue::kReluGradient:
    case ProductEpilogue::kNone:
      break;
  }
  return product.bias ? lt::kBias : lt::kDefault;
}

/// Bytes of which the address of every matrix of a batch is a multiple, 16 at most. Batches begin
/// at 16 bytes, or where another one of the same steps ends; those that read one matrix again and
/// again have a step of 0, and the next begins after it.
uint32_t alignment_of(int64_t batch, int64_t step, int64_t matrix, int64_t bytes) {
  constexpr int64_t kMost = 16;
  if (batch == 1) return kMost;
  return static_cast<uint32_t>(std::gcd(kMost, (step == 0 ? matrix : step) * bytes));
}

ProductChoice choice_of(const lt::HeuristicResult& candidate, double ms) {
  return {candidate.algorithm, static_cast<int64_t>(candidate.workspace_bytes), true, {}, ms};
}

bool has_aux(ProductEpilogue epilogue) {
  return epilogue == ProductEpilogue::kGeluSaving || epilogue == ProductEpilogue::kGeluGradient;
}

}  // namespace

// cuBLASLt counts in columns: what it sees is y^T = op(b)^T op(a)^T, with b for its A. Matrices
// that are row-major here are the same bytes as their transposes there, so y needs no order of its
// own, which epilogues would not support.
ProductDescription::ProductDescription(const lt::Functions& lt, const Product& product)
    : lt_(lt), product_(product) {
  try {
    make();
  } catch (...) {
    destroy();
    throw;
  }
}

ProductDescription::~ProductDescription() { destroy(); }

void ProductDescription::make() {
  const Product& p = product_;
  if (p.batch > std::numeric_limits<int32_t>::max()) {
    fail(ErrorCode::kShape, "expected a batch of fewer than 2^31 matrices on a GPU, received " +
                                std::to_string(p.batch));
  }
  const Types types = types_of(p.type);
  check(lt_.MatmulDescCreate(&descriptor_, types.compute, types.scale), "a product");
  const int32_t trans_a = p.trans_b ? lt::kOpT : lt::kOpN;
  const int32_t trans_b = p.trans_a ? lt::kOpT : lt::kOpN;
  set(lt::kTransA, &trans_a, sizeof trans_a);
  set(lt::kTransB, &trans_b, sizeof trans_b);
  const uint32_t epilogue = epilogue_of(p);
  set(lt::kEpilogue, &epilogue, sizeof epilogue);
  if (has_aux(p.epilogue)) set(lt::kEpilogueAuxLd, &p.n, sizeof p.n);
  a_ = p.trans_b ? make_layout(types.in, p.k, p.n, p.b_step, p.b_row)
                 : make_layout(types.in, p.n, p.k, p.b_step, p.b_row);
  b_ = p.trans_a ? make_layout(types.in, p.m, p.k, p.a_step, p.a_row)
                 : make_layout(types.in, p.k, p.m, p.a_step, p.a_row);
  y_ = make_layout(types.out, p.n, p.m, p.y_step, p.y_row);
}

void ProductDescription::destroy() noexcept {
  for (const lt::Layout layout : {a_, b_, y_}) {
    if (layout != nullptr) lt_.MatrixLayoutDestroy(layout);
  }
  if (descriptor_ != nullptr) lt_.MatmulDescDestroy(descriptor_);
}

void ProductDescription::set(lt::DescAttribute attribute, const void* value, size_t bytes) {
  check(lt_.MatmulDescSetAttribute(descriptor_, attribute, value, bytes), "a product's attribute");
}

lt::Layout ProductDescription::make_layout(lt::DataType type, int64_t rows, int64_t columns,
                                           int64_t step, int64_t along) {
  lt::Layout layout = nullptr;
  check(lt_.MatrixLayoutCreate(&layout, type, static_cast<uint64_t>(rows),
                               static_cast<uint64_t>(columns), along > 0 ? along : rows),
        "a matrix");
  if (product_.batch == 1) return layout;
  const auto batch = static_cast<int32_t>(product_.batch);
  lt::Status status = lt_.MatrixLayoutSetAttribute(layout, lt::kBatchCount, &batch, sizeof batch);
  if (status == lt::kSuccess)
    status = lt_.MatrixLayoutSetAttribute(layout, lt::kStridedBatchOffset, &step, sizeof step);
  if (status != lt::kSuccess) lt_.MatrixLayoutDestroy(layout);
  check(status, "a batch of matrices");
  return layout;
}

std::vector<lt::HeuristicResult> ProductDescription::candidates(lt::Handle handle, int most,
                                                                int64_t workspace_bytes) const {
  lt::Preference preference = nullptr;
  check(lt_.MatmulPreferenceCreate(&preference), "a preference");
  std::vector<lt::HeuristicResult> results(static_cast<size_t>(most));
  int count = 0;
  const auto bytes = static_cast<uint64_t>(workspace_bytes);
  const uint32_t ordered = lt::kReductionComputeType | lt::kReductionOutputType;
  lt::Status status =
      lt_.MatmulPreferenceSetAttribute(preference, lt::kMaxWorkspaceBytes, &bytes, sizeof bytes);
  if (status == lt::kSuccess) {
    status = lt_.MatmulPreferenceSetAttribute(preference, lt::kReductionSchemeMask, &ordered,
                                              sizeof ordered);
  }
  const Product& p = product_;
  const int64_t in_bytes = factor_bytes(p.type);
  const uint32_t y_alignment = alignment_of(p.batch, p.y_step, p.m * p.n, kSumBytes);
  // the library's A is b, its C and D are y
  const uint32_t alignments[] = {alignment_of(p.batch, p.b_step, p.k * p.n, in_bytes),
                                 alignment_of(p.batch, p.a_step, p.m * p.k, in_bytes), y_alignment,
                                 y_alignment};
  for (uint32_t i = 0; i < 4 && status == lt::kSuccess; ++i) {
    status = lt_.MatmulPreferenceSetAttribute(
        preference, static_cast<lt::PreferenceAttribute>(lt::kMinAlignmentA + i), &alignments[i],
        sizeof alignments[i]);
  }
  if (status == lt::kSuccess) {
    const lt::Status found = lt_.MatmulAlgoGetHeuristic(handle, descriptor_, a_, b_, y_, y_,
                                                        preference, most, results.data(), &count);
    if (found != lt::kSuccess) count = 0;  // it has none for these types and this epilogue
  }
  lt_.MatmulPreferenceDestroy(preference);
  check(status, "a preference");
  results.resize(static_cast<size_t>(count));
  std::erase_if(results, [&](const lt::HeuristicResult& result) {
    return result.state != lt::kSuccess || result.workspace_bytes > bytes;
  });
  return results;
}

lt::Status ProductDescription::run(lt::Handle handle, const ProductOperands& operands,
                                   const lt::Algorithm& algorithm, int64_t workspace_bytes,
                                   lt::Stream stream) {
  if (product_.bias) set(lt::kBiasPointer, &operands.bias, sizeof operands.bias);
  if (has_aux(product_.epilogue))
    set(lt::kEpilogueAuxPointer, &operands.saved, sizeof operands.saved);
  const float one = 1.0F;
  const float zero = 0.0F;
  const int32_t whole_one = 1;
  const int32_t whole_zero = 0;
  const bool integers = product_.type == ProductType::kInt8;
  const void* const alpha = integers ? static_cast<const void*>(&whole_one) : &one;
  const void* const beta = product_.adds ? alpha
                           : integers    ? static_cast<const void*>(&whole_zero)
                                         : &zero;
  return lt_.Matmul(handle, descriptor_, alpha, operands.b, a_, operands.a, b_, beta, operands.y,
                    y_, operands.y, y_, &algorithm, operands.workspace,
                    static_cast<size_t>(workspace_bytes), stream);
}

ProductChoice ProductChoices::choose(const Product& product) {
  // measured under the lock: two measurements at once would spoil each other
  const std::lock_guard lock(mutex_);
  const auto known = choices_.find(product);
  if (known != choices_.end()) return known->second;
  return choices_[product] = find(product);
}

ProductChoice ProductChoices::kept(const Product& product, const Offered& offered) const {
  const ProductChoice* const known = file_ == nullptr ? nullptr : file_->find(product);
  if (known == nullptr) return {};
  for (const FloatWay way : ways(product)) {
    if (way == known->own) return {{}, 0, true, way, known->ms};
  }
  if (known->own.splits > 0) return {};
  for (const lt::HeuristicResult& candidate : offered) {
    if (candidate.algorithm == known->algorithm) return choice_of(candidate, known->ms);
  }
  return {};
}

ProductChoice ProductChoices::find(const Product& product) {
  // The first of those that take as long, give or take what timing does, so that further processes
  // choose the same, and with it the same bits, as a rule.
  constexpr double kClearly = 0.97;
  std::optional<ProductDescription> description;
  Offered offered;
  if (library_has(product.epilogue)) {
    description.emplace(lt_, product);
    offered = description->candidates(handle_, kCandidates, kMaxWorkspace);
  }
  ProductChoice best = kept(product, offered);
  if (best.found) return best;
  const auto is_better = [&](double ms) {
    return ms >= 0 && (!best.found || ms < kClearly * best.ms);
  };
  for (const lt::HeuristicResult& candidate : offered) {
    const double ms = measure_(*description, product, candidate);
    if (is_better(ms)) best = choice_of(candidate, ms);
  }
  for (const FloatWay way : ways(product)) {
    const double ms = measure_floats_(product, way);
    if (is_better(ms)) best = {{}, 0, true, way, ms};
  }
  if (file_ != nullptr && best.found && std::isfinite(best.ms)) file_->add(product, best);
  return best;
}

size_t ProductChoices::size() const {
  const std::lock_guard lock(mutex_);
  return choices_.size();
}

}  // namespace tandem::cuda
