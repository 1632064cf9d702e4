// Functions that kernels and plain C++ share: index arithmetic that a machine without a GPU can
// test.
#pragma once

#if defined(__CUDACC__)
#define TANDEM_BOTH __host__ __device__ inline
#else
#define TANDEM_BOTH inline
#endif
