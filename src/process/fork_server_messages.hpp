#pragma once

#include <sys/types.h>

#include <cstdint>

namespace shoal {

/// What a fork server says on the channel of a child: that it was forked (with its pidfd beside), or why not, and later
/// how it ended.
struct fork_server_message {
  enum class kind : std::uint32_t { started, failed, exited, killed };

  kind what;
  std::int32_t number;  // the id of the child; errno; its exit code; the signal
};

}  // namespace shoal
