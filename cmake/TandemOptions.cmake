# What every target shares: language level, warnings, optimisation and sanitizers, as one interface target.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

# Someone who installs the package must not be stopped by a warning that a newer compiler invented.
if(PROJECT_SOURCE_DIR MATCHES "/node_modules/" OR TANDEM_SANITIZE)
  # The sanitizers' instrumentation, too, misleads gcc's flow analysis into false alarms.
  set(warnings_are_errors OFF)
else()
  set(warnings_are_errors ON)
endif()

get_property(multi_config GLOBAL PROPERTY GENERATOR_IS_MULTI_CONFIG)
if(NOT multi_config AND NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Debug, Release or RelWithDebInfo" FORCE)
endif()

set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)

add_library(tandem_options INTERFACE)
target_include_directories(tandem_options INTERFACE "${PROJECT_SOURCE_DIR}/native")
target_link_libraries(tandem_options INTERFACE Threads::Threads ${CMAKE_DL_LIBS})

# For C++ only: nvcc, which compiles native/cuda with the same interface target, has flags of its own.
if(MSVC)
  set(flags /W4 /permissive- /utf-8 /Zc:__cplusplus /Zc:preprocessor)
  set(warnings_flag /WX)
  target_compile_definitions(tandem_options INTERFACE NOMINMAX WIN32_LEAN_AND_MEAN _CRT_SECURE_NO_WARNINGS)
else()
  # -Wconversion finds lost bits and lost precision; signedness alone is left out, because index arithmetic on pointers
  # mixes size_t and ptrdiff_t everywhere and the casts would hide more than they show.
  set(flags
      -Wall
      -Wextra
      -Wpedantic
      -Wshadow
      -Wconversion
      -Wno-sign-conversion
      -Wnon-virtual-dtor
      -Woverloaded-virtual
      -Wcast-qual
      -Wformat=2
      -Wundef
      -Wvla
      # errno after sqrtf or expf is never read, and keeping it stops vectorisation. Never -ffast-math: it would drop
      # the checks for NaN and infinity and let sums be reordered.
      -fno-math-errno)
  set(warnings_flag -Werror)
endif()
if(warnings_are_errors)
  list(APPEND flags ${warnings_flag})
endif()
target_compile_options(tandem_options INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:${flags}>")

if(TANDEM_SANITIZE)
  if(MSVC)
    message(FATAL_ERROR "TANDEM_SANITIZE needs gcc or clang")
  endif()
  if(TANDEM_SANITIZE STREQUAL "thread")
    set(sanitizers thread)
  else()
    set(sanitizers address,undefined)
  endif()
  # -g1: a report names lines alone, and more would take a third of the compile time.
  add_compile_options(-fsanitize=${sanitizers} -fno-sanitize-recover=all -fno-omit-frame-pointer -g1)
  add_link_options(-fsanitize=${sanitizers})
endif()
