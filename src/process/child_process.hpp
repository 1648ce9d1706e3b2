#pragma once

#include <sys/types.h>

#include <optional>
#include <utility>

#include "os/pidfd.hpp"
#include "process/start_channel.hpp"
#include "shoal/deadline.hpp"
#include "shoal/exit_status.hpp"

namespace shoal {

/// A process that this one has started, be it its child or that of a fork server.
///
/// Threads: as os::pidfd.
class child_process {
 public:
  /// A child of this process.
  explicit child_process(os::pidfd process) noexcept : process_(std::move(process)) {}

  /// A child of a fork server, which will tell how it ended by this channel.
  child_process(os::pidfd process, start_channel server) noexcept
      : process_(std::move(process)), server_(std::move(server)), served_(true) {}

  /// A pidfd: polls readable when the process has ended.
  [[nodiscard]] int descriptor() const noexcept { return process_.get(); }
  [[nodiscard]] pid_t id() const noexcept { return process_.id(); }

  /// Sleeps until the process has ended and try_reap() has an answer, `until` has passed or a signal handler has run.
  ///
  /// A fork server needs a moment to tell the status of a process that has ended, and is given up to a second beyond
  /// `until` for it; if it is stopped the answer is then `timed_out`. A tracer of the process is given time to see its
  /// end first.
  [[nodiscard]] os::pidfd::wait_result wait_until(deadline until) const;

  /// How the process ended; nothing if it runs still. The first answer is remembered.
  /// @throws std::system_error  ECHILD: it ended, but how is not known: somebody else has waited for it, or its fork
  ///     server was killed before it.
  std::optional<exit_status> try_reap();

  /// Does nothing if the process has ended.
  void send_signal(int signal) const { process_.send_signal(signal); }

 private:
  [[nodiscard]] os::pidfd::wait_result wait_for_server(deadline until) const;
  [[nodiscard]] os::pidfd::wait_result wait_for_tracer(deadline until) const;
  [[nodiscard]] std::optional<exit_status> told_by_server() const;

  os::pidfd process_;
  start_channel server_;
  bool served_ = false;
  std::optional<exit_status> status_;  // of a served one
};

}  // namespace shoal
