#include <Python.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/vector.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <exception>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "bind.hpp"
#include "process/fork_server.hpp"
#include "process/handover.hpp"
#include "process/packet.hpp"
#include "process/program.hpp"
#include "process/start_channel.hpp"
#include "process_handle.hpp"
#include "waiting.hpp"

namespace nb = nanobind;

namespace shoal::python {
namespace {

using words = std::vector<nb::bytes>;

/// What a new process is sent; valid as long as the arguments of the call that it came with.
struct package {
  nb::bytes bytes;
  std::vector<int> descriptors;

  /// Sends it without the GIL. A child that was killed before it had read all has been started all the same.
  void send_by(const start_channel& channel) const {
    const const_bytes view{static_cast<const std::byte*>(bytes.data()), bytes.size()};
    const released_gil released;
    try {
      channel.send(view, descriptors);
    } catch (const std::system_error& failure) {
      if (failure.code() != std::errc::broken_pipe && failure.code() != std::errc::connection_reset) {
        throw;
      }
    }
  }
};

std::vector<std::string> strings(const words& given) {
  std::vector<std::string> copies;
  copies.reserve(given.size());
  for (const nb::bytes& word : given) {
    copies.emplace_back(word.c_str(), word.size());
  }
  return copies;
}

program program_of(const nb::bytes& path, const words& arguments, const std::optional<words>& environment) {
  return {.path = path.c_str(),
          .arguments = strings(arguments),
          .environment = environment ? std::optional(strings(*environment)) : std::nullopt};
}

void end_at_once(const os::pidfd& process) noexcept {
  ::kill(process.id(), SIGKILL);
  while (::waitpid(process.id(), nullptr, 0) < 0 && errno == EINTR) {
  }
}

process_handle start(const nb::bytes& path, const words& arguments, const std::optional<words>& environment,
                     const nb::bytes& bytes, const std::vector<int>& descriptors) {
  auto [ours, childs] = start_channel::create();
  os::pidfd process = start_program(program_of(path, arguments, environment), childs.get());
  childs.close();
  try {
    package{bytes, descriptors}.send_by(ours);
  } catch (...) {
    end_at_once(process);
    throw;
  }
  return process_handle(child_process(std::move(process)));
}

/// How many threads this process has, those of other languages included; 1 if there is no telling.
unsigned long threads() noexcept {
  struct stat tasks {};
  constexpr unsigned long own_links = 2;  // each thread is a folder there, which counts as a link
  return ::stat("/proc/self/task", &tasks) == 0 && tasks.st_nlink > own_links ? tasks.st_nlink - own_links : 1;
}

/// What Python 3.12 and later warn of, in all versions.
void warn_of_threads() {
  if (threads() > 1 &&
      PyErr_WarnFormat(PyExc_DeprecationWarning, 1,
                       "This process (pid=%d) is multi-threaded, use of fork() may lead to deadlocks in the child.",
                       static_cast<int>(::getpid())) < 0) {
    PyErr_WriteUnraisable(nullptr);  // the child exists already
  }
}

void refuse_at_shutdown() {
#if PY_VERSION_HEX >= 0x030D0000
  if (Py_IsFinalizing() != 0) {
    PyErr_SetString(PyExc_PythonFinalizationError, "can't fork at interpreter shutdown");
    throw nb::python_error();
  }
#elif PY_VERSION_HEX >= 0x030C0000
  if (_Py_IsFinalizing() != 0) {
    PyErr_SetString(PyExc_RuntimeError, "can't fork at interpreter shutdown");
    throw nb::python_error();
  }
#endif
}

/// Forks the interpreter, with what it does about a fork.
pid_t fork_interpreter() {
  PyOS_BeforeFork();
  const pid_t pid = ::fork();
  if (pid == 0) {
    PyOS_AfterFork_Child();
  } else {
    const int error = errno;
    PyOS_AfterFork_Parent();
    errno = error;
  }
  return pid;
}

/// Blocks signals over a fork, in the child until restore(). What arrives there before is pending in the kernel, while
/// Python forgets in a fork what was pending in it, and would run handlers where nobody expects an exception.
class signals_over_fork {
 public:
  signals_over_fork() noexcept {
    sigset_t most;
    ::sigfillset(&most);
    for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP}) {
      ::sigdelset(&most, fault);
    }
    ::pthread_sigmask(SIG_BLOCK, &most, &before);
  }
  signals_over_fork(const signals_over_fork&) = delete;
  signals_over_fork& operator=(const signals_over_fork&) = delete;
  ~signals_over_fork() {
    if (!in_child_) {
      restore();
    }
  }

  void stay_in_child() noexcept { in_child_ = true; }

  static void restore() noexcept { ::pthread_sigmask(SIG_SETMASK, &before, nullptr); }

 private:
  inline static sigset_t before{};  // whoever forks has the GIL, and a child comes from one fork
  bool in_child_ = false;
};

/// @return nothing in the child, which begins once the parent has its pidfd: if there is no descriptor left for that,
///     nothing has run.
std::optional<process_handle> fork() {
  if (PySys_Audit("os.fork", nullptr) < 0) {
    throw nb::python_error();
  }
  refuse_at_shutdown();
  handover shared;
  const pid_t parent = ::getpid();
  PyOS_BeforeFork();
  std::optional<signals_over_fork> blocked(std::in_place);
  const pid_t pid = ::fork();
  if (pid == 0) {
    blocked->stay_in_child();
    if (!shared.wait_for_begin(parent)) {
      ::_exit(EXIT_FAILURE);
    }
    PyOS_AfterFork_Child();
    return std::nullopt;
  }
  const int error = errno;
  blocked.reset();
  errno = error;
  std::optional<os::pidfd> process;
  std::exception_ptr failure;
  try {
    process = os::pidfd::open(os::check(pid, "starting a process"));
    shared.let_begin();
  } catch (...) {
    failure = std::current_exception();
    if (pid > 0) {
      ::kill(pid, SIGKILL);
      while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
      }
    }
  }
  PyOS_AfterFork_Parent();
  if (failure) {
    std::rethrow_exception(failure);
  }
  warn_of_threads();
  return process_handle(child_process(*std::move(process)));
}

/// shoal._core.ForkServerDoor.
class door {
 public:
  /// The message goes through a channel of its own, as to a child, because it may be long.
  static std::pair<door, process_handle> launch(const nb::bytes& path, const words& arguments,
                                                const nb::bytes& message) {
    auto [opened, server] = fork_server_door::launch(program_of(path, arguments, std::nullopt));
    try {
      auto [ours, servers] = start_channel::create();
      const std::array descriptors{servers.get()};
      send_packet(opened.get(), {}, descriptors);
      servers.close();
      package{message, {}}.send_by(ours);
    } catch (const std::system_error& failure) {
      if (failure.code() != std::errc::broken_pipe && failure.code() != std::errc::connection_reset) {
        end_at_once(server);
        throw;
      }
      // It has ended already, which whoever asks it for something will notice.
    } catch (...) {
      end_at_once(server);
      throw;
    }
    return {door(std::move(opened)), process_handle(child_process(std::move(server)))};
  }

  explicit door(int descriptor) : door_(os::file_descriptor(descriptor)) {}

  [[nodiscard]] int descriptor() const { return door_.get(); }

  /// @return nothing if the server has ended; nothing was started then.
  std::optional<process_handle> start(const nb::bytes& bytes, const std::vector<int>& descriptors) const {
    try {
      fork_server_door::started begun = answer_to(door_.ask());
      package{bytes, descriptors}.send_by(begun.channel);
      return process_handle(child_process(std::move(begun.process), std::move(begun.channel)));
    } catch (const fork_server_gone&) {
      return std::nullopt;
    }
  }

 private:
  explicit door(fork_server_door opened) noexcept : door_(std::move(opened)) {}

  static fork_server_door::started answer_to(fork_server_door::request asked) {
    for (;;) {
      if (std::optional<fork_server_door::started> begun = asked.try_finish()) {
        return *std::move(begun);
      }
      // No longer than a second at a time: a signal may arrive just before the system call.
      const auto answered = [&] {
        pollfd answer{.fd = asked.descriptor(), .events = POLLIN, .revents = 0};
        return ::poll(&answer, 1, 1000) == 1;
      };
      [[maybe_unused]] const bool readable = wait_without_gil(answered, false);
    }
  }

  fork_server_door door_;
};

std::optional<int> serve(int descriptor) {
  std::optional<os::file_descriptor> channel = serve_forks(os::file_descriptor(descriptor), fork_interpreter);
  return channel ? std::optional(channel->release()) : std::nullopt;
}

std::optional<nb::bytes> receive_from_launcher(int door) {
  const std::optional<start_package> received = [&]() -> std::optional<start_package> {
    const released_gil released;
    std::byte spare{};
    std::vector<os::file_descriptor> channels;
    if (receive_packet(door, {&spare, 1}, channels) == 0 || channels.empty()) {
      return std::nullopt;
    }
    return receive_package(channels.front().get());
  }();
  return received ? std::optional(nb::bytes(received->bytes.data(), received->bytes.size())) : std::nullopt;
}

std::optional<std::pair<nb::bytes, std::vector<int>>> receive(int channel) {
  std::optional<start_package> received = [&] {
    const released_gil released;
    return receive_package(channel);
  }();
  if (!received) {
    return std::nullopt;
  }
  std::vector<int> descriptors;
  descriptors.reserve(received->descriptors.size());
  for (os::file_descriptor& descriptor : received->descriptors) {
    descriptors.push_back(descriptor.release());
  }
  return std::pair(nb::bytes(received->bytes.data(), received->bytes.size()), std::move(descriptors));
}

}  // namespace

void bind_process_start(nb::module_& module) {
  module.attr("START_CHANNEL") = program::channel;
  module.def("fork", &fork);
  module.def("unblock_signals", &signals_over_fork::restore);
  module.def("start_program", &start, nb::arg("path"), nb::arg("arguments"), nb::arg("environment").none(),
             nb::arg("package"), nb::arg("descriptors"));
  module.def("receive_package", &receive, nb::arg("channel"));
  module.def("receive_from_launcher", &receive_from_launcher, nb::arg("door"));
  module.def("serve_forks", &serve, nb::arg("door"));
  nb::class_<door>(module, "ForkServerDoor")
      .def(nb::init<int>(), nb::arg("descriptor"))
      .def_static("launch", &door::launch, nb::arg("path"), nb::arg("arguments"), nb::arg("message"))
      .def("fileno", &door::descriptor)
      .def("start", &door::start, nb::arg("package"), nb::arg("descriptors"));
}

}  // namespace shoal::python
