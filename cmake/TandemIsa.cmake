# native/cpu/isa/*.cpp is compiled once per instruction set into an object library of its own, with
#   TANDEM_ISA_NS    the namespace of this copy: isa_scalar, isa_avx2, isa_avx512
#   TANDEM_ISA_xxx   1 for the instruction set at hand: SCALAR, AVX2, AVX512
# Code compiled here must stay inside tandem::cpu::TANDEM_ISA_NS: an inline function of a shared header is emitted by
# every object that uses it, the linker keeps any one copy, and that copy may hold AVX-512 instructions that an older
# processor runs into from baseline code. scripts/check-isa-symbols.mjs looks for such functions.

set(tandem_target_processor "${CMAKE_SYSTEM_PROCESSOR}")
if(CMAKE_OSX_ARCHITECTURES)
  set(tandem_target_processor "${CMAKE_OSX_ARCHITECTURES}")
elseif(MSVC AND CMAKE_CXX_COMPILER_ARCHITECTURE_ID)
  set(tandem_target_processor "${CMAKE_CXX_COMPILER_ARCHITECTURE_ID}")
endif()

set(tandem_x86_64 "^(x86_64|AMD64|amd64|x64)$")

# _tandem_isa(parent NAME flag...) compiles the caller's `sources` for one instruction set and puts the objects into
# parent, which (with everything that links it) sees TANDEM_HAVE_NAME.
function(_tandem_isa parent isa)
  string(TOLOWER "${isa}" lower)
  set(objects "${parent}_${lower}")
  add_library(${objects} OBJECT ${sources})
  target_link_libraries(${objects} PRIVATE tandem_core)
  target_compile_definitions(${objects} PRIVATE TANDEM_ISA_NS=isa_${lower} TANDEM_ISA_${isa}=1)
  target_compile_options(${objects} PRIVATE ${ARGN})
  if(NOT MSVC)
    # A double that slips into a float kernel halves its speed.
    target_compile_options(${objects} PRIVATE -Wdouble-promotion)
  endif()
  if(TANDEM_SANITIZE)
    # gcc takes minutes for one file of unrolled and instrumented kernels when it optimises them in full.
    target_compile_options(${objects} PRIVATE -O1)
  endif()
  target_sources(${parent} PRIVATE $<TARGET_OBJECTS:${objects}>)
  target_compile_definitions(${parent} PUBLIC TANDEM_HAVE_${isa}=1)
endfunction()

# _tandem_isa_extension(parent NAME file flag...) adds a file of native/cpu/isa/extensions, which needs more than the
# instruction set NAME; what it defines is looked at only after the processor has been asked.
function(_tandem_isa_extension parent isa file)
  string(TOLOWER "${isa}" lower)
  set(source "${PROJECT_SOURCE_DIR}/native/cpu/isa/extensions/${file}")
  target_sources(${parent}_${lower} PRIVATE "${source}")
  if(NOT MSVC)
    set_source_files_properties("${source}" PROPERTIES COMPILE_OPTIONS "${ARGN}")
  endif()
endfunction()

# tandem_add_isa_extensions(parent) adds those files to a parent that has the objects of native/cpu/isa.
function(tandem_add_isa_extensions parent)
  if(NOT tandem_target_processor MATCHES "${tandem_x86_64}")
    return()
  endif()
  _tandem_isa_extension(${parent} AVX2 gemm_s8_avx_vnni.cpp -mavxvnni)
  _tandem_isa_extension(${parent} AVX512 gemm_s8_avx512_vnni.cpp -mavx512vnni)
  _tandem_isa_extension(${parent} AVX512 gemm_bf16_avx512.cpp -mavx512bf16)
  _tandem_isa_extension(${parent} AVX512 gemm_amx.cpp -mavx512bf16 -mamx-tile -mamx-int8 -mamx-bf16)
endfunction()

# tandem_add_isa_objects(parent source...)
function(tandem_add_isa_objects parent)
  set(sources ${ARGN})
  _tandem_isa(${parent} SCALAR)
  if(NOT tandem_target_processor MATCHES "${tandem_x86_64}")
    return()
  endif()
  if(MSVC)
    _tandem_isa(${parent} AVX2 /arch:AVX2)
    _tandem_isa(${parent} AVX512 /arch:AVX512)
    return()
  endif()
  set(avx2 -mavx2 -mfma -mf16c -mbmi -mbmi2)
  set(avx512 ${avx2} -mavx512f -mavx512bw -mavx512dq -mavx512vl -mprefer-vector-width=512)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    # gcc 12's own AVX-512 intrinsics start from deliberately undefined registers and it warns about them (bug 105593).
    list(APPEND avx512 -Wno-uninitialized -Wno-maybe-uninitialized)
  endif()
  _tandem_isa(${parent} AVX2 ${avx2})
  _tandem_isa(${parent} AVX512 ${avx512})
endfunction()
