# tandem_tests: the C++ tests, without Node. `tandem_tests [filter]` runs the tests whose name contains the filter.

file(GLOB_RECURSE test_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/test/native/*.cpp")
add_executable(tandem_tests ${test_sources})
target_include_directories(tandem_tests PRIVATE "${PROJECT_SOURCE_DIR}/test/native")
target_link_libraries(tandem_tests PRIVATE tandem_cpu tandem_cuda_host)
add_test(NAME native COMMAND tandem_tests)

# Stand-ins for the libraries that the CUDA backend is found through; the tests open them by their paths.
function(_tandem_fake name source)
  add_library(${name} SHARED "${PROJECT_SOURCE_DIR}/test/native/fakes/${source}")
  target_compile_definitions(${name} PRIVATE ${ARGN})
  target_link_libraries(${name} PRIVATE tandem_core)
  set_target_properties(${name} PROPERTIES LIBRARY_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/fakes"
                                           CXX_VISIBILITY_PRESET default)
  add_dependencies(tandem_tests ${name})
endfunction()
if(NOT WIN32)
  _tandem_fake(fake_driver driver.cc FAKE_VERSION=13000 FAKE_GPUS=2 FAKE_MAJOR=9)
  _tandem_fake(fake_driver_old driver.cc FAKE_VERSION=12040 FAKE_GPUS=1 FAKE_MAJOR=9)
  _tandem_fake(fake_driver_old_gpu driver.cc FAKE_VERSION=13000 FAKE_GPUS=1 FAKE_MAJOR=6)
  _tandem_fake(fake_driver_no_gpu driver.cc FAKE_VERSION=13000 FAKE_GPUS=0 FAKE_MAJOR=9)
  _tandem_fake(fake_backend backend.cc FAKE_ABI=0)
  _tandem_fake(fake_backend_other backend.cc FAKE_ABI=1)
  _tandem_fake(fake_empty empty.cc)
  # needs a library that the loader does not find
  _tandem_fake(fake_needed empty.cc)
  _tandem_fake(fake_incomplete empty.cc)
  target_link_libraries(fake_incomplete PRIVATE fake_needed)
  target_link_options(fake_incomplete PRIVATE $<$<PLATFORM_ID:Linux>:-Wl,--no-as-needed>)
  set_target_properties(fake_incomplete PROPERTIES SKIP_BUILD_RPATH ON)
  _tandem_fake(fake_nccl nccl.cc FAKE_VERSION=22703)
  _tandem_fake(fake_nccl_old nccl.cc FAKE_VERSION=21304)
  target_compile_definitions(tandem_tests PRIVATE "TANDEM_FAKES=\"${PROJECT_BINARY_DIR}/fakes\"")
endif()

find_program(TANDEM_NODE node)
if(TANDEM_NODE AND NOT MSVC AND NOT TANDEM_SANITIZE)
  add_test(NAME isa-symbols COMMAND "${TANDEM_NODE}" "${PROJECT_SOURCE_DIR}/scripts/check-isa-symbols.mjs"
                                    "${PROJECT_BINARY_DIR}")
endif()
