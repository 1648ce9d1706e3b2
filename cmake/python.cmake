# The extension module shoal._core, for the one interpreter that is found (scikit-build-core says which).

find_package(Python 3.10 REQUIRED COMPONENTS Interpreter Development.Module)

if(NOT SKBUILD)
  # Without a build front end nobody has told CMake where the interpreter keeps nanobind.
  execute_process(COMMAND ${Python_EXECUTABLE} -m nanobind --cmake_dir OUTPUT_VARIABLE nanobind_ROOT
                  OUTPUT_STRIP_TRAILING_WHITESPACE)
endif()
find_package(nanobind CONFIG REQUIRED)

file(GLOB binding_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/bindings/*.cpp)

# NOMINSIZE: by default nanobind optimises modules for size; here every put and get goes through this code.
nanobind_add_module(_core NB_STATIC NOMINSIZE NB_SUPPRESS_WARNINGS ${binding_sources})
target_include_directories(_core PRIVATE ${PROJECT_SOURCE_DIR}/src)
target_include_directories(_core SYSTEM PRIVATE ${MSGPACK_CXX_INCLUDE_DIR})
target_compile_definitions(_core PRIVATE MSGPACK_NO_BOOST)
# The module carries its own copy of the library, and keeps it to itself: a program may load libshoal.so beside it.
target_link_libraries(_core PRIVATE shoal::static)
target_link_options(_core PRIVATE -Wl,--exclude-libs,ALL)
# Its own copy of the C++ library, too: loading the shared one takes twice as long as loading this module. Not of libgcc:
# Python ends daemon threads by pthread_exit, which unwinds with the shared one, and two unwinders end the process.
include(CheckLinkerFlag)
check_linker_flag(CXX -static-libstdc++ SHOAL_CAN_LINK_STATIC_LIBSTDCXX)
if(SHOAL_CAN_LINK_STATIC_LIBSTDCXX)
  target_link_options(_core PRIVATE -static-libstdc++)
endif()
shoal_enable_warnings(_core)

install(TARGETS _core LIBRARY DESTINATION shoal COMPONENT python)
