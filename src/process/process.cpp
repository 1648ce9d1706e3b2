#include "shoal/process.hpp"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <exception>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <system_error>

#include "os/pidfd.hpp"
#include "process/child_process.hpp"
#include "process/child_settings.hpp"
#include "process/child_side.hpp"
#include "process/crash_trace.hpp"
#include "process/handover.hpp"
#include "process/own_fork_server.hpp"
#include "process/own_program.hpp"
#include "process/program.hpp"
#include "process/standard_streams.hpp"

namespace shoal {
namespace {

std::atomic<start_method> default_method{start_method::fork};

const char* name_of(start_method method) noexcept {
  switch (method) {
    case start_method::fork:
      return "fork";
    case start_method::spawn:
      return "spawn";
    case start_method::forkserver:
      return "forkserver";
  }
  return "unknown";
}

std::string description(pid_t id, const std::string& name) {
  return "process " + std::to_string(id) + (name.empty() ? "" : " (" + name + ")");
}

/// Waits for the end of a process that shall not be, and reaps it.
void bury(child_process& dead) noexcept {
  try {
    while (dead.wait_until(forever) != os::pidfd::wait_result::ended) {
    }
    dead.try_reap();
  } catch (const std::system_error&) {
    // The program ignores SIGCHLD: then there is nothing to reap.
  }
}

child_process start_fork(const detail::process_call& call, const child_settings& settings, handover& shared) {
  flush_standard_streams();
  prepare_crash_traces();
  // glibc's fork, never a raw clone: locks that record their owner, robust ones above all, rely on the thread ids it
  // renews.
  const pid_t pid = os::check(::fork(), "starting a process");
  if (pid == 0) {
    run_fork(call, settings, shared);
  }
  try {
    return child_process(os::pidfd::open(pid));
  } catch (...) {
    // The child waits for its permission to begin, so it is ours still, and has done nothing.
    ::kill(pid, SIGKILL);
    while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
    throw;
  }
}

/// Descriptors that a process gets under numbers of their own, in the order in which they are sent.
class placed_descriptors {
 public:
  void add(int fd, int number) {
    sources_.push_back(fd);
    numbers_.push_back(number);
  }
  void add_if_open(int fd) {
    if (::fcntl(fd, F_GETFD) >= 0) {
      add(fd, fd);
    }
  }
  [[nodiscard]] const std::vector<int>& sources() const noexcept { return sources_; }
  [[nodiscard]] const std::vector<int>& numbers() const noexcept { return numbers_; }

 private:
  std::vector<int> sources_;
  std::vector<int> numbers_;
};

placed_descriptors descriptors_of(const process_options& options, start_method method) {
  placed_descriptors all;
  if (method == start_method::forkserver) {  // its own are those of whoever launched the server
    if (options.inherit_stdin) {
      all.add_if_open(STDIN_FILENO);
    }
    all.add_if_open(STDOUT_FILENO);
    all.add_if_open(STDERR_FILENO);
  }
  for (const int fd : options.descriptors) {
    all.add(fd, fd);
  }
  return all;
}

/// Nothing if it was removed.
std::optional<std::string> current_directory() {
  std::error_code failure;
  const std::filesystem::path here = std::filesystem::current_path(failure);
  return failure ? std::nullopt : std::optional(here.native());
}

struct launched {
  os::pidfd process;
  start_channel channel;
};

launched launch(const process_options& options, start_method method) {
  if (method == start_method::forkserver) {
    fork_server_door::started started = start_from_own_fork_server();
    return {std::move(started.process), std::move(started.channel)};
  }
  auto [ours, childs] = start_channel::create();
  program self = own_program("spawn", environment_list(options));
  self.inherit_stdin = options.inherit_stdin;
  os::pidfd process = start_program(self, childs.get());
  return {std::move(process), std::move(ours)};
}

std::string how_it_ended(child_process& dead) {
  try {
    while (dead.wait_until(forever) != os::pidfd::wait_result::ended) {
    }
    return to_string(dead.try_reap().value());
  } catch (const std::system_error&) {
    return "ended";  // how is not known, because the program ignores SIGCHLD
  }
}

child_process start_anew(const detail::process_call& call, child_settings settings, const process_options& options,
                         int memory) {
  flush_standard_streams();
  const bool served = settings.method == start_method::forkserver;
  const placed_descriptors placed = descriptors_of(options, settings.method);
  detail::outgoing_parcel package;
  package.descriptors = placed.sources();
  settings.descriptors = placed.numbers();
  if (served && !settings.working_directory) {
    settings.working_directory = current_directory();
  }
  send_beginning(package, memory, settings);
  call.send(call.context, package);

  auto [process, channel] = launch(options, settings.method);
  try {
    channel.send(package.values.bytes(), package.descriptors);
  } catch (const std::system_error& failure) {
    child_process dead =
        served ? child_process(std::move(process), std::move(channel)) : child_process(std::move(process));
    const bool is_ending = failure.code() == std::errc::broken_pipe || failure.code() == std::errc::connection_reset;
    if (is_ending) {  // by itself, which tells more than being killed
      const deadline enough = after(std::chrono::seconds(1));
      while (dead.wait_until(enough) == os::pidfd::wait_result::interrupted) {
      }
    }
    dead.send_signal(SIGKILL);
    const std::string how = how_it_ended(dead);
    if (is_ending) {
      os::throw_errno("starting a process, which " + how + " before it came to the shoal::runtime in its main", EPIPE);
    }
    throw;
  }
  return served ? child_process(std::move(process), std::move(channel)) : child_process(std::move(process));
}

}  // namespace

void set_start_method(start_method method) noexcept { default_method = method; }
start_method get_start_method() noexcept { return default_method; }

class process::child {
 public:
  child(const process_options& options, const detail::process_call& call) : name_(options.name) {
    const start_method method = options.method.value_or(get_start_method());
    child_settings settings = settings_of(options, method);
    if (method == start_method::fork) {
      settings.descriptors = options.descriptors;
      shared_.emplace();
      process_.emplace(start_fork(call, settings, *shared_));
      shared_->let_begin();
    } else {
      check_can_be_sent(call, method);
      const os::file_descriptor memory = handover::make_memory();
      shared_.emplace(memory.get());
      process_.emplace(start_anew(call, settings, options, memory.get()));
    }
    if (settings.may_fail()) {
      try {
        wait_for_answer();
      } catch (...) {
        process_->send_signal(SIGKILL);
        bury(*process_);
        throw;
      }
    }
  }

  /// Not in a fork of the process that has started it.
  [[nodiscard]] bool is_own() const noexcept { return starter_ == ::getpid(); }

  [[nodiscard]] const child_process& process() const noexcept { return *process_; }
  [[nodiscard]] const std::string& name() const noexcept { return name_; }

  bool wait_until(deadline until) const {
    for (;;) {
      switch (process_->wait_until(until)) {
        case os::pidfd::wait_result::ended:
          return true;
        case os::pidfd::wait_result::timed_out:
          return false;
        case os::pidfd::wait_result::interrupted:
          break;
      }
    }
  }

  /// Of a child that has ended.
  exit_status take_status() {
    if (const std::optional<handover::failure> failure = shared_->reported()) {
      bury(*process_);
      throw remote_error(failure->type, failure->message, description(process_->id(), name_));
    }
    return process_->try_reap().value();
  }

 private:
  static void check_can_be_sent(const detail::process_call& call, start_method method) {
    const std::string attempt = std::string("starting a process by ") + name_of(method) + ": ";
    if (call.send == nullptr) {
      throw std::invalid_argument(attempt + call.obstacle + ".");
    }
    if (!has_runtime()) {
      throw std::logic_error(attempt +
                             "this program would execute itself, but could not know there that it is a process of "
                             "another one. Construct a shoal::runtime first thing in main: "
                             "int main() { shoal::runtime runtime; ... }");
    }
  }

  void wait_for_answer() {
    while (!shared_->wait_for_answer() && process_->wait_until(no_waiting) != os::pidfd::wait_result::ended) {
    }
    const std::optional<handover::failure> failure = shared_->reported();
    if (failure && failure->error != 0) {
      os::throw_errno(failure->message, failure->error);
    }
  }

  const pid_t starter_ = ::getpid();
  std::optional<handover> shared_;  // before process_, which is made by a fork that shares it
  std::optional<child_process> process_;
  std::string name_;
};

process::process() noexcept = default;
process::process(process&&) noexcept = default;

process& process::operator=(process&& other) noexcept {
  if (joinable() && child_->is_own()) {
    std::terminate();
  }
  child_ = std::move(other.child_);
  return *this;
}

process::~process() {
  if (joinable() && child_->is_own()) {
    std::terminate();
  }
}

bool process::is_of_another_process() const noexcept { return joinable() && !child_->is_own(); }

void process::start(const process_options& options, const detail::process_call& call) {
  child_ = std::make_unique<child>(options, call);
}

exit_status process::join() { return join_until(forever).value(); }

std::optional<exit_status> process::join_until(deadline until) {
  if (!joinable()) {
    os::throw_errno("joining a process that is none: never started, joined already, or moved from", EINVAL);
  }
  if (!child_->wait_until(until)) {
    return std::nullopt;
  }
  const std::unique_ptr<child> ended = std::move(child_);
  return ended->take_status();
}

bool process::wait_until(deadline until) const { return !joinable() || child_->wait_until(until); }

pid_t process::id() const noexcept { return joinable() ? child_->process().id() : 0; }

int process::native_handle() const noexcept { return joinable() ? child_->process().descriptor() : -1; }

std::string process::name() const { return joinable() ? child_->name() : std::string(); }

void process::send(int signal) const {
  if (joinable()) {
    child_->process().send_signal(signal);
  }
}

void process::terminate() const { send(SIGTERM); }
void process::interrupt() const { send(SIGINT); }
void process::kill() const { send(SIGKILL); }

}  // namespace shoal
