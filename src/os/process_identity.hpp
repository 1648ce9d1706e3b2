#pragma once

#include <cstdint>

namespace shoal::os {

inline constexpr std::uint64_t no_process = 0;
inline constexpr std::uint64_t unknown_start = ~std::uint64_t{0};

/// When a process started, in clock ticks since the machine did (proc(5)): together with its id, which process it is,
/// since ids are used again. `no_process` if there is none of that id, or no thread of it runs the program any more;
/// `unknown_start` if there is one, but it cannot be looked at: no descriptor left, or no /proc.
[[nodiscard]] std::uint64_t start_of_living_process(int process) noexcept;

}  // namespace shoal::os
