#pragma once

#include <sys/types.h>

#include <optional>

#include "os/file_descriptor.hpp"
#include "shoal/deadline.hpp"
#include "shoal/exit_status.hpp"

namespace shoal::os {

/// A process, by a descriptor that cannot come to mean another process with a recycled id. See pidfd_open(2).
///
/// Threads: wait_until() and send_signal() may be called concurrently; try_reap() by one thread at a time.
class pidfd {
 public:
  /// Opens a process that cannot have been reaped yet, such as a child that nobody has waited for.
  /// @throws std::system_error  ESRCH: no such process; EMFILE, ENFILE: no descriptor left.
  static pidfd open(pid_t pid);

  /// Takes over a pidfd that was received, for process `pid`.
  static pidfd adopt(file_descriptor fd, pid_t pid) noexcept { return {std::move(fd), pid}; }

  [[nodiscard]] int get() const noexcept { return fd_.get(); }
  [[nodiscard]] pid_t id() const noexcept { return pid_; }

  enum class wait_result { ended, timed_out, interrupted };

  /// Sleeps until the process has ended, `until` has passed or a signal handler has run. Reaps nothing.
  wait_result wait_until(deadline until) const;

  /// Whether try_reap() has an answer. One that has ended has to be seen by its tracer (strace, a debugger) first.
  [[nodiscard]] bool is_reapable() const noexcept;

  /// How the process ended; nothing if it runs still. The first answer reaps the child and is remembered.
  /// @throws std::system_error  ECHILD: it ended (or is no child of this process) and its status went to somebody else.
  std::optional<exit_status> try_reap();

  /// How a process ended that is nobody's to be reaped here: it is no child of this one. Waits a moment for whoever has
  /// to reap it. @return nothing if it runs still, or if the kernel does not tell (before Linux 6.15).
  [[nodiscard]] std::optional<exit_status> exit_of_reaped() const noexcept;

  /// Does nothing if the process has ended.
  /// @throws std::system_error  no such signal, or no permission.
  void send_signal(int signal) const;

 private:
  pidfd(file_descriptor fd, pid_t pid) noexcept : fd_(std::move(fd)), pid_(pid) {}

  file_descriptor fd_;
  pid_t pid_;
  std::optional<exit_status> status_;
};

}  // namespace shoal::os
