#pragma once

#include <string_view>

namespace shoal {

/// Does what trace_crashes needs and may not do itself: the first use of a backtrace loads a library. Children that are
/// forked later need not do it again.
void prepare_crash_traces() noexcept;

/// From now on this process, when it is about to be killed by SIGSEGV, SIGBUS, SIGILL, SIGFPE or SIGABRT, first writes
/// to standard error which process that is and where it was; then it is killed by that signal all the same.
///
/// Signals which the program, or a sanitizer, has handlers for or ignores are left alone. The stack of the calling
/// thread may have overflowed, since the handler has one of its own; another thread's may not.
///
/// @param name  what the process is called; may be empty
void trace_crashes(std::string_view name) noexcept;

}  // namespace shoal
