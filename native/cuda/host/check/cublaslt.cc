// Compares what host/cublaslt.h declares with NVIDIA's header. Compiled only where a toolkit has
// it.
#include <cublasLt.h>

#include "cuda/host/cublaslt.h"

namespace {

using namespace tandem::cuda;

template <typename T>
constexpr bool same(T real, int64_t declared) {
  return static_cast<int64_t>(real) == declared;
}

static_assert(same(CUBLAS_STATUS_SUCCESS, lt::kSuccess));
static_assert(same(CUBLAS_STATUS_NOT_INITIALIZED, lt::kNotInitialized));
static_assert(same(CUBLAS_STATUS_ALLOC_FAILED, lt::kAllocFailed));
static_assert(same(CUBLAS_STATUS_INVALID_VALUE, lt::kInvalidValue));
static_assert(same(CUBLAS_STATUS_ARCH_MISMATCH, lt::kArchMismatch));
static_assert(same(CUBLAS_STATUS_EXECUTION_FAILED, lt::kExecutionFailed));
static_assert(same(CUBLAS_STATUS_INTERNAL_ERROR, lt::kInternalError));
static_assert(same(CUBLAS_STATUS_NOT_SUPPORTED, lt::kNotSupported));
static_assert(same(CUBLAS_COMPUTE_32F, lt::kCompute32F));
static_assert(same(CUBLAS_COMPUTE_32I, lt::kCompute32I));
static_assert(same(CUBLAS_COMPUTE_32F_FAST_TF32, lt::kCompute32FFastTf32));
static_assert(same(CUBLAS_COMPUTE_32F_FAST_16F, lt::kCompute32FFast16F));
static_assert(same(CUBLAS_COMPUTE_32F_FAST_16BF, lt::kCompute32FFast16BF));
static_assert(same(CUDA_R_32F, lt::kR32F) && same(CUDA_R_16F, lt::kR16F));
static_assert(same(CUDA_R_8I, lt::kR8I) && same(CUDA_R_32I, lt::kR32I));
static_assert(same(CUDA_R_16BF, lt::kR16BF));
static_assert(same(CUBLAS_OP_N, lt::kOpN) && same(CUBLAS_OP_T, lt::kOpT));
static_assert(same(CUBLASLT_MATMUL_DESC_POINTER_MODE, lt::kPointerMode));
static_assert(same(CUBLASLT_MATMUL_DESC_TRANSA, lt::kTransA));
static_assert(same(CUBLASLT_MATMUL_DESC_TRANSB, lt::kTransB));
static_assert(same(CUBLASLT_MATMUL_DESC_EPILOGUE, lt::kEpilogue));
static_assert(same(CUBLASLT_MATMUL_DESC_BIAS_POINTER, lt::kBiasPointer));
static_assert(same(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, lt::kEpilogueAuxPointer));
static_assert(same(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, lt::kEpilogueAuxLd));
static_assert(same(CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, lt::kBatchCount));
static_assert(same(CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, lt::kStridedBatchOffset));
static_assert(same(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, lt::kMaxWorkspaceBytes));
static_assert(same(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, lt::kReductionSchemeMask));
static_assert(same(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, lt::kMinAlignmentA));
static_assert(same(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, lt::kMinAlignmentA + 3));
static_assert(same(CUBLASLT_REDUCTION_SCHEME_INPLACE, lt::kReductionInPlace));
static_assert(same(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE, lt::kReductionComputeType));
static_assert(same(CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE, lt::kReductionOutputType));
static_assert(same(CUBLASLT_POINTER_MODE_HOST, lt::kPointerModeHost));
static_assert(same(CUBLASLT_POINTER_MODE_ALPHA_DEVICE_VECTOR_BETA_HOST,
                   lt::kPointerModeAlphaVector));
static_assert(same(CUBLASLT_EPILOGUE_DEFAULT, lt::kDefault));
static_assert(same(CUBLASLT_EPILOGUE_BIAS, lt::kBias));
static_assert(same(CUBLASLT_EPILOGUE_GELU, lt::kGelu));
static_assert(same(CUBLASLT_EPILOGUE_GELU_BIAS, lt::kGeluBias));
static_assert(same(CUBLASLT_EPILOGUE_GELU_AUX, lt::kGeluAux));
static_assert(same(CUBLASLT_EPILOGUE_GELU_AUX_BIAS, lt::kGeluAuxBias));
static_assert(same(CUBLASLT_EPILOGUE_DGELU, lt::kDGelu));
static_assert(sizeof(cublasLtMatmulAlgo_t) == sizeof(lt::Algorithm));
static_assert(sizeof(cublasLtMatmulHeuristicResult_t) == sizeof(lt::HeuristicResult));
static_assert(offsetof(cublasLtMatmulHeuristicResult_t, workspaceSize) ==
              offsetof(lt::HeuristicResult, workspace_bytes));
static_assert(offsetof(cublasLtMatmulHeuristicResult_t, state) ==
              offsetof(lt::HeuristicResult, state));
static_assert(sizeof(cublasLtHandle_t) == sizeof(lt::Handle));

}  // namespace
