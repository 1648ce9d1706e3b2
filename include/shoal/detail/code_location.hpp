#pragma once

#include <cstdint>

namespace shoal::detail {

/// A function, as one process names it to another that was forked from it: where it is, and what lies there. The second
/// is needed because either process may have loaded or unloaded code since the fork.
struct code_location {
  const void* address;
  std::uint64_t module;  // a fingerprint of the executable or shared library there; never 0
};

/// @throws shoal::error  errc::unknown_function: no code of the executable or a shared library.
[[nodiscard]] code_location locate_code(const void* function);

/// The function at that place.
/// @throws shoal::error  errc::unknown_function: this process has other code there, or none.
[[nodiscard]] const void* find_code(code_location location);

}  // namespace shoal::detail
