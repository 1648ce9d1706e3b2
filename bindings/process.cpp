#include <nanobind/stl/optional.h>

#include <cerrno>
#include <optional>
#include <system_error>

#include "bind.hpp"
#include "os/pidfd.hpp"
#include "shoal/die_with_parent.hpp"
#include "waiting.hpp"

namespace nb = nanobind;

namespace shoal::python {
namespace {

/// shoal._core.ProcessHandle: a child, until it is closed.
class process_handle {
 public:
  explicit process_handle(pid_t pid) : process_(os::pidfd::open(pid)) {}

  [[nodiscard]] int descriptor() const { return usable().get(); }

  std::optional<int> wait(std::optional<double> timeout) {
    if (exit_code_) {
      return exit_code_;
    }
    const deadline until = deadline_of(timeout);
    const auto ended = [&] { return usable().wait_until(until); };
    using result = os::pidfd::wait_result;
    if ((until == no_waiting ? ended() : wait_without_gil(ended, result::interrupted)) == result::ended) {
      exit_code_ = reap();
    }
    return exit_code_;
  }

  void send_signal(int signal) const {
    if (!exit_code_) {
      usable().send_signal(signal);
    }
  }

  void close() { process_.reset(); }

 private:
  [[nodiscard]] const os::pidfd& usable() const {
    if (!process_) {
      throw std::invalid_argument("the process handle is closed");
    }
    return *process_;
  }

  /// As `multiprocessing` gives it: negative for a signal, 255 where somebody else has reaped the child.
  int reap() {
    constexpr int unknown = 255;
    try {
      const std::optional<exit_status> status = process_->try_reap();
      return !status ? unknown : status->exited() ? status->code() : -status->signal();
    } catch (const std::system_error& failure) {
      if (failure.code() != std::errc::no_child_process) {
        throw;
      }
      return unknown;
    }
  }

  std::optional<os::pidfd> process_;
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
}

}  // namespace shoal::python
