// How many registers the threads of a kernel may have.
#pragma once

/// Of a kernel whose blocks have up to `threads` threads. Without a number of blocks the compiler
/// would rather spill a few registers than have fewer blocks run at once, which it does for some
/// kernels and compute capabilities; on 9.0, where none of these spills, it is left to choose.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ == 900
#define TANDEM_LAUNCH_BOUNDS(threads) __launch_bounds__(threads)
#else
#define TANDEM_LAUNCH_BOUNDS(threads) __launch_bounds__(threads, 1)
#endif
