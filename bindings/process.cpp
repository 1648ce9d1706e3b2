#include <nanobind/stl/optional.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <memory>
#include <optional>
#include <stdexcept>
#include <system_error>

#include "bind.hpp"
#include "os/descriptor_limit.hpp"
#include "os/pidfd.hpp"
#include "shoal/die_with_parent.hpp"
#include "waiting.hpp"

namespace nb = nanobind;

namespace shoal::python {
namespace {

/// shoal._core.ProcessHandle: a child, until it is closed.
class process_handle {
 public:
  explicit process_handle(pid_t pid) : process_(std::make_shared<os::pidfd>(os::pidfd::open(pid))) {}

  [[nodiscard]] int descriptor() const { return usable()->get(); }

  std::optional<int> wait(std::optional<double> timeout) {
    if (exit_code_) {
      return exit_code_;
    }
    const std::shared_ptr<os::pidfd> process = usable();  // kept open, should another thread close this meanwhile
    const deadline until = deadline_of(timeout);
    using result = os::pidfd::wait_result;
    // No longer than a second at a time: a signal may arrive just before the system call that it would have
    // interrupted.
    const auto ended = [&] {
      const deadline next_look = std::min(until, after(std::chrono::seconds(1)));
      const result how = process->wait_until(next_look);
      return how == result::timed_out && next_look < until ? result::interrupted : how;
    };
    if ((until == no_waiting ? process->wait_until(no_waiting) : wait_without_gil(ended, result::interrupted)) ==
        result::ended) {
      exit_code_ = reap(*process);
    }
    return exit_code_;
  }

  void send_signal(int signal) const {
    if (!exit_code_) {
      usable()->send_signal(signal);
    }
  }

  void close() { process_.reset(); }

 private:
  [[nodiscard]] std::shared_ptr<os::pidfd> usable() const {
    if (process_ == nullptr) {
      throw std::invalid_argument("the process handle is closed");
    }
    return process_;
  }

  /// As `multiprocessing` gives it: negative for a signal, 255 where somebody else has reaped the child.
  static int reap(os::pidfd& process) {
    constexpr int unknown = 255;
    try {
      const std::optional<exit_status> status = process.try_reap();
      return !status ? unknown : status->exited() ? status->code() : -status->signal();
    } catch (const std::system_error& failure) {
      if (failure.code() != std::errc::no_child_process) {
        throw;
      }
      return unknown;
    }
  }

  std::shared_ptr<os::pidfd> process_;
  std::optional<int> exit_code_;
};

}  // namespace

void bind_process(nb::module_& module) {
  nb::class_<process_handle>(module, "ProcessHandle")
      .def(nb::init<pid_t>(), nb::arg("pid"))
      .def("fileno", &process_handle::descriptor)
      .def("wait", &process_handle::wait, nb::arg("timeout") = nb::none())
      .def("send_signal", &process_handle::send_signal, nb::arg("signal"))
      .def("close", &process_handle::close);
  module.def("die_with_parent", [] { die_with_parent(); });
  module.def("raise_descriptor_limit", &os::raise_descriptor_limit);
}

}  // namespace shoal::python
