#pragma once

#include <cstdint>

namespace shoal::os {

/// How often this process and its ancestors have forked, plus one. A child counts the fork that made it.
/// Threads: may be called by any; only the value read under a `no_fork` is sure to be still true.
[[nodiscard]] std::uint64_t forks() noexcept;

/// How many forks led to this process: a child's is one more than its parent's.
[[nodiscard]] std::uint64_t generation() noexcept;

/// While one exists, a fork by another thread of this process waits. Not recursive; hold it for a moment only.
class no_fork {
 public:
  no_fork() noexcept;
  no_fork(const no_fork&) = delete;
  no_fork& operator=(const no_fork&) = delete;
  ~no_fork();
};

}  // namespace shoal::os
