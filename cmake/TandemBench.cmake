# tandem_bench: the native benchmarks. oneDNN and OpenBLAS run beside ours where their development packages are found;
# they are linked into this program only.

file(GLOB_RECURSE bench_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/bench/native/*.cpp")
list(FILTER bench_sources EXCLUDE REGEX "/bench/native/isa/")
file(GLOB bench_isa_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/bench/native/isa/*.cpp")
add_executable(tandem_bench ${bench_sources})
target_include_directories(tandem_bench PRIVATE "${PROJECT_SOURCE_DIR}/bench/native")
target_link_libraries(tandem_bench PRIVATE tandem_cpu)
tandem_add_isa_objects(tandem_bench ${bench_isa_sources})

find_package(OpenMP QUIET COMPONENTS CXX)
find_path(TANDEM_ONEDNN_INCLUDE dnnl.hpp)
find_library(TANDEM_ONEDNN_LIBRARY dnnl)
if(TANDEM_ONEDNN_INCLUDE AND TANDEM_ONEDNN_LIBRARY AND OpenMP_CXX_FOUND)
  target_compile_definitions(tandem_bench PRIVATE TANDEM_BENCH_ONEDNN=1)
  target_include_directories(tandem_bench SYSTEM PRIVATE "${TANDEM_ONEDNN_INCLUDE}")
  target_link_libraries(tandem_bench PRIVATE "${TANDEM_ONEDNN_LIBRARY}" OpenMP::OpenMP_CXX)
endif()

find_path(TANDEM_OPENBLAS_INCLUDE openblas_config.h PATH_SUFFIXES openblas-pthread openblas-openmp openblas)
find_library(TANDEM_OPENBLAS_LIBRARY openblas PATH_SUFFIXES openblas-pthread openblas-openmp openblas)
if(TANDEM_OPENBLAS_INCLUDE AND TANDEM_OPENBLAS_LIBRARY)
  target_compile_definitions(tandem_bench PRIVATE TANDEM_BENCH_OPENBLAS=1)
  target_include_directories(tandem_bench SYSTEM PRIVATE "${TANDEM_OPENBLAS_INCLUDE}")
  target_link_libraries(tandem_bench PRIVATE "${TANDEM_OPENBLAS_LIBRARY}")
endif()
