#pragma once

#include <cstdint>

#include "os/file_descriptor.hpp"

namespace shoal::queue {

/// What a process owns chunks and leases as: a number that the kernel can be asked about.
///
/// Each has an open file description of the segment to itself, with a lock on the byte that has its number. The kernel
/// drops the lock with the last descriptor for it, so when the process has ended, however it did; numbers are never
/// used again. (Open file description locks, fcntl_locking(2). A process id would not do: it may be another process by
/// the time somebody asks, and says nothing about a fork.)
///
/// Threads: const members may be called concurrently.
class holder {
 public:
  /// What becomes of it in a child that is forked.
  enum class in_child {
    lives_on,  ///< it ends when parent and child have both let go of it
    ends,      ///< it is the parent's alone
  };

  /// @throws std::system_error  no descriptor left, or no /proc.
  holder(int segment, std::uint64_t number, in_child fate);
  holder(const holder&) = delete;
  holder& operator=(const holder&) = delete;
  ~holder();

  [[nodiscard]] std::uint64_t number() const noexcept { return number_; }

  /// Whether nobody but this process has it. True only for a moment, unless a no_fork is there.
  [[nodiscard]] bool is_exclusive() const noexcept;

  /// Whether any process has the holder of this number. `segment` must not be a holder's own descriptor.
  [[nodiscard]] static bool is_alive(int segment, std::uint64_t number) noexcept;

 private:
  class registry;
  static const registry& made_early;

  void close() noexcept;

  std::uint64_t number_;
  in_child fate_;
  std::uint64_t made_at_;  // the count of forks
  os::file_descriptor description_;
};

}  // namespace shoal::queue
