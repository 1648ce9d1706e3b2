# Warnings are for whoever works on Shoal; a project that only uses it is not shown ours. Errors are made of them by
# CMAKE_COMPILE_WARNING_AS_ERROR, which `make test` sets in CI.
function(shoal_enable_warnings target)
  if(PROJECT_IS_TOP_LEVEL)
    target_compile_options(
      ${target} PRIVATE -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual
                        -Wimplicit-fallthrough -Wundef)
  endif()
endfunction()
