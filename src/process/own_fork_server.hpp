#pragma once

#include "process/fork_server.hpp"

namespace shoal {

/// A child of this program's fork server, which is launched if there is none: one server for a program and its forks.
/// @throws std::system_error  it cannot be launched, or cannot fork.
[[nodiscard]] fork_server_door::started start_from_own_fork_server();

}  // namespace shoal
