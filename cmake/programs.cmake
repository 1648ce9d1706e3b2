# Each FOLDER/name.cpp is a program, FOLDER/name in the build tree; its target is FOLDER_name, so that an example and a benchmark
# may share a name.
function(shoal_programs folder)
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${folder}/*.cpp)
  foreach(source IN LISTS sources)
    cmake_path(GET source STEM name)
    add_executable(${folder}_${name} ${source})
    target_link_libraries(${folder}_${name} PRIVATE shoal::shoal)
    set_target_properties(${folder}_${name} PROPERTIES OUTPUT_NAME ${name} RUNTIME_OUTPUT_DIRECTORY
                                                                           ${PROJECT_BINARY_DIR}/${folder})
    shoal_enable_warnings(${folder}_${name})
  endforeach()
endfunction()
