#pragma once

#include "shoal/record.hpp"

namespace shoal::detail {

/// A function as a pool and its workers name it to one another, thousands of times: what `encode_code` writes, and
/// beside it the address, which in a fork is right as it stands.
struct code_location {
  const void* address;
  const_bytes name;
};

/// The name lasts until this thread asks for the next one.
/// @throws shoal::error  errc::unknown_function: no code of the executable or a shared library.
[[nodiscard]] code_location locate_code(const void* function);

/// The function of that name in this process. A shared library that is not loaded here is, from the same file.
/// @throws shoal::error  errc::unknown_function: there is none; the file it would come from is another build.
[[nodiscard]] const void* find_code(const code_location& location);

}  // namespace shoal::detail
