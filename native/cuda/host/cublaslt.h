// What this library uses of cuBLASLt, declared by hand: it is opened at run time, so neither its
// headers nor the library are needed to build. One set of values holds for 11.8 to 13: descriptors
// are only made by Create and changed by SetAttribute, as their layouts differ from version to
// version. cublaslt_check.cpp compares the values with the real header where a toolkit has it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tandem::cuda::lt {

using Status = uint32_t;
inline constexpr Status kSuccess = 0;
inline constexpr Status kNotInitialized = 1;
inline constexpr Status kAllocFailed = 3;
inline constexpr Status kInvalidValue = 7;
inline constexpr Status kArchMismatch = 8;
inline constexpr Status kExecutionFailed = 13;
inline constexpr Status kInternalError = 14;
inline constexpr Status kNotSupported = 15;

/// cublasComputeType_t
enum ComputeType : int32_t {
  kCompute32F = 68,
  kCompute32I = 72,
  kCompute32FFast16F = 74,
  kCompute32FFast16BF = 75,
  kCompute32FFastTf32 = 77
};
/// cudaDataType_t
enum DataType : int32_t { kR32F = 0, kR16F = 2, kR8I = 3, kR32I = 10, kR16BF = 14 };
/// cublasOperation_t
enum Operation : int32_t { kOpN = 0, kOpT = 1 };

/// cublasLtMatmulDescAttributes_t
enum DescAttribute : uint32_t {
  kPointerMode = 2,          ///< int32
  kTransA = 3,               ///< int32
  kTransB = 4,               ///< int32
  kEpilogue = 7,             ///< uint32
  kBiasPointer = 8,          ///< device pointer
  kEpilogueAuxPointer = 11,  ///< device pointer
  kEpilogueAuxLd = 12,       ///< int64
};
/// cublasLtMatrixLayoutAttribute_t
enum LayoutAttribute : uint32_t {
  kBatchCount = 5 /* int32 */,
  kStridedBatchOffset = 6 /* int64 */
};
/// cublasLtMatmulPreferenceAttributes_t
enum PreferenceAttribute : uint32_t {
  kMaxWorkspaceBytes = 1,    ///< uint64
  kReductionSchemeMask = 3,  ///< uint32
  kMinAlignmentA = 5,        ///< uint32, then B, C and D
};
/// cublasLtReductionScheme_t: how parts of a product that was cut along k are added. In place they
/// come in any order, so that a mask leaves it out.
inline constexpr uint32_t kReductionInPlace = 1;
inline constexpr uint32_t kReductionComputeType = 2;
inline constexpr uint32_t kReductionOutputType = 4;
/// cublasLtPointerMode_t
inline constexpr int32_t kPointerModeHost = 0;
inline constexpr int32_t kPointerModeAlphaVector = 4;

/// cublasLtEpilogue_t. GELU is the approximation by tanh; its AUX is the value before it.
enum Epilogue : uint32_t {
  kDefault = 1,
  kBias = 4,
  kGelu = 32,
  kGeluBias = 36,
  kGeluAux = 160,
  kGeluAuxBias = 164,
  kDGelu = 192,
};

/// cublasLtMatmulAlgo_t
struct Algorithm {
  uint64_t data[8];
  bool operator==(const Algorithm&) const = default;
};
/// cublasLtMatmulHeuristicResult_t
struct HeuristicResult {
  Algorithm algorithm;
  size_t workspace_bytes;
  Status state;
  float waves;
  int32_t reserved[4];
};
static_assert(sizeof(Algorithm) == 64 && alignof(Algorithm) == 8);
static_assert(sizeof(HeuristicResult) == 96 && alignof(HeuristicResult) == 8);
static_assert(offsetof(HeuristicResult, workspace_bytes) == 64);
static_assert(offsetof(HeuristicResult, state) == 72);
static_assert(offsetof(HeuristicResult, waves) == 76);
static_assert(offsetof(HeuristicResult, reserved) == 80);

using Handle = void*;
using Descriptor = void*;
using Layout = void*;
using Preference = void*;
/// cudaStream_t
using Stream = void*;

/// The functions, by their names without `cublasLt`.
struct Functions {
  Status (*Create)(Handle*);
  Status (*Destroy)(Handle);
  size_t (*GetVersion)();
  Status (*MatmulDescCreate)(Descriptor*, ComputeType, DataType scale);
  Status (*MatmulDescDestroy)(Descriptor);
  Status (*MatmulDescSetAttribute)(Descriptor, DescAttribute, const void*, size_t);
  Status (*MatrixLayoutCreate)(Layout*, DataType, uint64_t rows, uint64_t columns, int64_t ld);
  Status (*MatrixLayoutDestroy)(Layout);
  Status (*MatrixLayoutSetAttribute)(Layout, LayoutAttribute, const void*, size_t);
  Status (*MatmulPreferenceCreate)(Preference*);
  Status (*MatmulPreferenceDestroy)(Preference);
  Status (*MatmulPreferenceSetAttribute)(Preference, PreferenceAttribute, const void*, size_t);
  Status (*MatmulAlgoGetHeuristic)(Handle, Descriptor, Layout a, Layout b, Layout c, Layout d,
                                   Preference, int requested, HeuristicResult*, int* returned);
  Status (*Matmul)(Handle, Descriptor, const void* alpha, const void* a, Layout, const void* b,
                   Layout, const void* beta, const void* c, Layout, void* d, Layout,
                   const Algorithm*, void* workspace, size_t workspace_bytes, Stream);
};

}  // namespace tandem::cuda::lt
