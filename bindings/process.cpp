#include <nanobind/stl/optional.h>

#include <poll.h>
#include <sys/prctl.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>

#include "bind.hpp"
#include "os/descriptor_limit.hpp"
#include "process/die_with_starter.hpp"
#include "process_handle.hpp"
#include "shoal/die_with_parent.hpp"
#include "waiting.hpp"

namespace nb = nanobind;

namespace shoal::python {
namespace {

/// As `multiprocessing` gives it. @return nothing if the process runs still.
std::optional<int> exit_code_of(child_process& process) {
  try {
    const std::optional<exit_status> status = process.try_reap();
    if (!status) {
      return std::nullopt;
    }
    return status->exited() ? status->code() : -status->signal();
  } catch (const std::system_error& failure) {
    if (failure.code() != std::errc::no_child_process) {
      throw;
    }
    constexpr int unknown = 255;
    return unknown;
  }
}

bool has_ended(const child_process& process) {
  pollfd end{.fd = process.descriptor(), .events = POLLIN, .revents = 0};
  return ::poll(&end, 1, 0) == 1;
}

}  // namespace

std::optional<int> process_handle::wait(std::optional<double> timeout) {
  if (exit_code_) {
    return exit_code_;
  }
  const std::shared_ptr<child_process> process = usable();
  const deadline until = deadline_of(timeout);
  exit_code_ = exit_code_of(*process);
  if (exit_code_ || (until == no_waiting && !has_ended(*process))) {
    return exit_code_;
  }
  using result = os::pidfd::wait_result;
  // No longer than a second at a time: a signal may arrive just before the system call that it would have
  // interrupted.
  const auto ended = [&] {
    const deadline next_look = std::min(until, after(std::chrono::seconds(1)));
    const result how = process->wait_until(next_look);
    return how == result::timed_out && next_look < until ? result::interrupted : how;
  };
  // Also with no_waiting: how an ended process has ended, the fork server may tell a moment later.
  if (wait_without_gil(ended, result::interrupted) == result::ended) {
    exit_code_ = exit_code_of(*process);
  }
  return exit_code_;
}

std::optional<int> process_handle::reap() {
  if (!exit_code_) {
    exit_code_ = exit_code_of(*usable());
  }
  return exit_code_;
}

void process_handle::send_signal(int signal) const {
  if (!exit_code_) {
    usable()->send_signal(signal);
  }
}

std::shared_ptr<child_process> process_handle::usable() const {
  if (process_ == nullptr) {
    throw std::invalid_argument("the process handle is closed");
  }
  return process_;
}

void bind_process(nb::module_& module) {
  nb::class_<process_handle>(module, "ProcessHandle")
      .def("fileno", &process_handle::descriptor)
      .def_prop_ro("pid", &process_handle::pid)
      .def("wait", &process_handle::wait, nb::arg("timeout") = nb::none())
      .def("reap", &process_handle::reap)
      .def("send_signal", &process_handle::send_signal, nb::arg("signal"))
      .def("close", &process_handle::close);
  module.def(
      "die_with_parent", [](int parent) { die_with_parent(parent); }, nb::arg("parent"));
  module.def("die_with_starter", &die_with_starter, nb::arg("channel"));
  module.def(
      "set_process_name", [](const nb::bytes& name) { ::prctl(PR_SET_NAME, name.c_str()); }, nb::arg("name"));
  module.def("raise_descriptor_limit", &os::raise_descriptor_limit);
}

}  // namespace shoal::python
