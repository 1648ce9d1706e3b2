#pragma once

#include <sys/types.h>

#include "os/file_descriptor.hpp"
#include "process/child_settings.hpp"
#include "process/handover.hpp"
#include "shoal/detail/process_call.hpp"

namespace shoal {

/// In a fork: runs the function, when it may begin, and ends the process.
[[noreturn]] void run_fork(const detail::process_call& call, const child_settings& settings, handover& shared) noexcept;

/// Appends the beginning of what run_sent reads: what program it comes from, and the settings. `memory` is of the
/// handover.
void send_beginning(detail::outgoing_parcel& out, int memory, const child_settings& settings);

/// In a new program or a fork of the fork server: waits for its package, runs the function, and ends the process.
[[noreturn]] void run_sent(os::file_descriptor channel) noexcept;

}  // namespace shoal
