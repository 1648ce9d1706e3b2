#pragma once

#include <poll.h>

#include <span>

#include "shoal/deadline.hpp"

namespace shoal::os {

enum class poll_result { ready, timed_out, interrupted };

/// Sleeps until one of the descriptors is ready, `until` has passed or a signal handler has run. One that is not open
/// is ready, with POLLNVAL; one below zero never is. See poll(2).
/// @throws std::system_error  more descriptors than this process may have; no memory.
poll_result poll_until(std::span<pollfd> awaited, deadline until);

}  // namespace shoal::os
