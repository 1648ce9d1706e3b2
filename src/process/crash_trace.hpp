#pragma once

#include <string_view>

namespace shoal {

/// Does what a crash trace cannot do at the time of a crash, or in a fork. Does nothing but for the first time.
void prepare_crash_traces() noexcept;

/// From now on a crash of this process says so on stderr: signal, process, and the functions that were being executed.
/// Then the process ends as it would have. Not for signals that this process handles or ignores already.
void trace_crashes(std::string_view name) noexcept;

}  // namespace shoal
