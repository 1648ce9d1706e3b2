#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>

#include "shoal/exit_status.hpp"

namespace shoal {

/// The outcome of a task whose worker process ended while running it: killed, crashed, or exited. Whether the task had
/// done anything by then is not known, which is why it is not run again.
class worker_died : public std::runtime_error {
 public:
  /// @param how  completes "worker 4711 ...", as `to_string(exit_status)` does
  worker_died(std::uint64_t task, pid_t worker, std::optional<exit_status> status, const std::string& how);

  [[nodiscard]] std::uint64_t task() const noexcept {
    return task_;
  }  ///< counts the pool's tasks from 0; a chunk of map is one
  [[nodiscard]] pid_t worker() const noexcept { return worker_; }  ///< what its process id was
  [[nodiscard]] std::optional<exit_status> status() const noexcept {
    return status_;
  }  ///< none if the program ignores SIGCHLD

 private:
  std::uint64_t task_;
  pid_t worker_;
  std::optional<exit_status> status_;
};

}  // namespace shoal
