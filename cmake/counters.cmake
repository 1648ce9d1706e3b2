# The counters in C++: examples/counter/NAME.cpp is a program, examples/counter/NAME in the build tree, if what it shows is
# found. Nothing but these examples uses that.
function(shoal_counters)
  find_package(PkgConfig QUIET)
  if(PkgConfig_FOUND)
    pkg_check_modules(GTKMM QUIET IMPORTED_TARGET gtkmm-4.0)
  endif()
  find_package(Qt6 QUIET COMPONENTS Widgets)
  find_path(ASIO_INCLUDE_DIR asio.hpp)
  mark_as_advanced(ASIO_INCLUDE_DIR Qt6_DIR)

  shoal_counter(epoll TRUE "")
  shoal_counter(asio "${ASIO_INCLUDE_DIR}" "Asio (libasio-dev)")
  if(TARGET counter_asio)
    # So does Asio find out, but of clang only where that has libc++; clang-tidy 14 knows coroutines without.
    target_compile_definitions(counter_asio PRIVATE ASIO_HAS_CO_AWAIT ASIO_HAS_STD_COROUTINE)
  endif()
  shoal_counter(gtkmm4 "${GTKMM_FOUND}" "gtkmm 4 (libgtkmm-4.0-dev)" PkgConfig::GTKMM)
  shoal_counter(qt6 "${Qt6_FOUND}" "Qt 6 (qt6-base-dev)" Qt6::Widgets)
endfunction()

function(shoal_counter name found toolkit)
  if(NOT found)
    message(STATUS "Not built: the example counter/${name}, since ${toolkit} was not found")
    return()
  endif()
  add_executable(counter_${name} ${PROJECT_SOURCE_DIR}/examples/counter/${name}.cpp)
  target_link_libraries(counter_${name} PRIVATE shoal::shoal ${ARGN})
  set_target_properties(counter_${name} PROPERTIES OUTPUT_NAME ${name} RUNTIME_OUTPUT_DIRECTORY
                                                                       ${PROJECT_BINARY_DIR}/examples/counter)
  shoal_enable_warnings(counter_${name})
endfunction()
