# What `cmake --install` puts into a prefix: both kinds of library, the headers, and what other projects find them by.

include(CMakePackageConfigHelpers)

set(shoal_cmake_dir ${CMAKE_INSTALL_LIBDIR}/cmake/shoal)

install(
  TARGETS shoal_static shoal_shared
  EXPORT shoal
  COMPONENT development
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT shoal NAMESPACE shoal:: FILE shoalTargets.cmake DESTINATION ${shoal_cmake_dir} COMPONENT development)

configure_package_config_file(cmake/shoalConfig.cmake.in shoalConfig.cmake INSTALL_DESTINATION ${shoal_cmake_dir}
                              NO_SET_AND_CHECK_MACRO)
# While the major version is 0, a minor version may break its users.
write_basic_package_version_file(shoalConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/shoalConfig.cmake ${PROJECT_BINARY_DIR}/shoalConfigVersion.cmake
        DESTINATION ${shoal_cmake_dir} COMPONENT development)

# Relative to the .pc file's own place, so that a prefix may be moved. An absolute folder, as some distributions ask for, is kept.
file(RELATIVE_PATH pc_to_prefix "/prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/prefix")
string(REGEX REPLACE "/$" "" pc_to_prefix "${pc_to_prefix}")
cmake_path(APPEND pc_libdir "\${prefix}" "${CMAKE_INSTALL_LIBDIR}")
cmake_path(APPEND pc_includedir "\${prefix}" "${CMAKE_INSTALL_INCLUDEDIR}")
configure_file(cmake/shoal.pc.in shoal.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/shoal.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT development)

install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DATADIR}/licenses/shoal COMPONENT development)
