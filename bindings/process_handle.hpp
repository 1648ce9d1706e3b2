#pragma once

#include <memory>
#include <optional>

#include "process/child_process.hpp"

namespace shoal::python {

/// shoal._core.ProcessHandle: a process that this one has started, until it is closed.
class process_handle {
 public:
  explicit process_handle(child_process process) : process_(std::make_shared<child_process>(std::move(process))) {}

  /// @throws std::invalid_argument  it is closed; so do the others.
  [[nodiscard]] int descriptor() const { return usable()->descriptor(); }
  [[nodiscard]] int pid() const { return usable()->id(); }

  /// The exit code as `multiprocessing` gives it: negative for a signal, 255 where it is not to be had. Nothing if the
  /// process runs still after `timeout` seconds.
  std::optional<int> wait(std::optional<double> timeout);

  /// As wait, but never waits for anything: nothing as well if it is not known yet how an ended process has ended.
  std::optional<int> reap();

  void send_signal(int signal) const;

  void close() { process_.reset(); }

 private:
  [[nodiscard]] std::shared_ptr<child_process> usable() const;

  std::shared_ptr<child_process> process_;  // shared with calls that wait, should another thread close it meanwhile
  std::optional<int> exit_code_;
};

}  // namespace shoal::python
