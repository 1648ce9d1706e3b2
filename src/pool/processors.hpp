#pragma once

#include <cstddef>

namespace shoal {

/// How many processors this process may run on; at least 1.
[[nodiscard]] std::size_t usable_processors();

}  // namespace shoal
