# tandem_tests: the C++ tests, without Node. `tandem_tests [filter]` runs the tests whose name contains the filter.

file(GLOB_RECURSE test_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/test/native/*.cpp")
add_executable(tandem_tests ${test_sources})
target_include_directories(tandem_tests PRIVATE "${PROJECT_SOURCE_DIR}/test/native")
target_link_libraries(tandem_tests PRIVATE tandem_cpu)
add_test(NAME native COMMAND tandem_tests)

find_program(TANDEM_NODE node)
if(TANDEM_NODE AND NOT MSVC AND NOT TANDEM_SANITIZE)
  add_test(NAME isa-symbols COMMAND "${TANDEM_NODE}" "${PROJECT_SOURCE_DIR}/scripts/check-isa-symbols.mjs"
                                    "${PROJECT_BINARY_DIR}")
endif()
