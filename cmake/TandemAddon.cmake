# The addon itself: native/binding -> build/Release/tandem_ml.node. Keep it the only .node file there, since both
# node-gyp-build and prebuildify take the first one they find.

if(NOT DEFINED CMAKE_JS_VERSION)
  message(FATAL_ERROR "The addon is built by `npm run build`; for plain CMake pass -DTANDEM_BUILD_ADDON=OFF")
endif()

file(GLOB_RECURSE binding_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/native/binding/*.cpp")
add_library(tandem_ml SHARED ${binding_sources} ${CMAKE_JS_SRC})
set_target_properties(tandem_ml PROPERTIES PREFIX "" SUFFIX ".node")
# The version has one home, package.json.
set_property(DIRECTORY "${PROJECT_SOURCE_DIR}" APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/package.json")
file(READ "${PROJECT_SOURCE_DIR}/package.json" package)
string(JSON version GET "${package}" version)
# Without the last one node-addon-api ends the process when a worker thread is terminated during one of its calls.
target_compile_definitions(tandem_ml PRIVATE NAPI_VERSION=9 NODE_ADDON_API_CPP_EXCEPTIONS
                                             NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS)
set_source_files_properties("${PROJECT_SOURCE_DIR}/native/binding/addon.cpp"
                            PROPERTIES COMPILE_DEFINITIONS "TANDEM_VERSION=\"${version}\"")
# SYSTEM: our warnings are not meant for Node's headers.
target_include_directories(tandem_ml SYSTEM PRIVATE ${CMAKE_JS_INC})
target_link_libraries(tandem_ml PRIVATE tandem_cpu tandem_cuda_host ${CMAKE_JS_LIB})

if(APPLE)
  target_link_options(tandem_ml PRIVATE -undefined dynamic_lookup)
elseif(MSVC)
  # cmake-js's delay-load hook is not ours to warn about.
  set_source_files_properties(${CMAKE_JS_SRC} PROPERTIES COMPILE_OPTIONS "/WX-")
  target_link_options(tandem_ml PRIVATE /DELAYLOAD:NODE.EXE)
  target_link_libraries(tandem_ml PRIVATE delayimp)
  if(CMAKE_JS_NODELIB_DEF AND CMAKE_JS_NODELIB_TARGET)
    execute_process(COMMAND ${CMAKE_AR} /def:${CMAKE_JS_NODELIB_DEF} /out:${CMAKE_JS_NODELIB_TARGET}
                            ${CMAKE_STATIC_LINKER_FLAGS} COMMAND_ERROR_IS_FATAL ANY)
  endif()
elseif(NOT TANDEM_SANITIZE)
  # A symbol that nothing defines fails here and not when a user loads the addon; Node-API's are the exception, they
  # come from the node executable, so they stay undefined and only the static libraries' names are hidden.
  target_link_options(tandem_ml PRIVATE -Wl,--exclude-libs,ALL -Wl,--gc-sections)
endif()
