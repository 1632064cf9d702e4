# The CUDA language as native/cuda needs it: C++20. That folder's CMakeLists.txt defines the target tandem_cuda, links
# tandem_core and chooses the architectures.

enable_language(CUDA)
if(NOT DEFINED CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
  # CMake before 3.26 does not know that nvcc 12 and later speak C++20.
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
endif()
