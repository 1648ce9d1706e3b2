#include "shoal/process.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <exception>
#include <iostream>
#include <string>

#include "os/pidfd.hpp"
#include "process/exception_text.hpp"
#include "process/handover.hpp"

namespace shoal {
namespace {

// The standard streams and no others: fflush(nullptr) would wait for a thread that sits in a read of stdin, which holds
// its lock.
void flush_standard_streams() noexcept {
  try {
    for (std::ostream* const stream : {&std::cout, &std::clog, &std::cerr}) {
      stream->flush();
    }
    for (std::wostream* const stream : {&std::wcout, &std::wclog, &std::wcerr}) {
      stream->flush();
    }
  } catch (...) {
    // A stream told to throw on errors. There is nobody to tell, and the process shall go on or end all the same.
  }
  std::fflush(stdout);
  std::fflush(stderr);
}

[[noreturn]] void run_child(int (*function)(void*), void* context, pid_t parent, handover& shared) noexcept {
  if (!shared.wait_for_begin(parent)) {
    ::_exit(EXIT_FAILURE);
  }
  int code = EXIT_FAILURE;
  try {
    code = function(context);
  } catch (...) {
    const exception_text text = describe_current_exception();
    shared.report(text.type, text.message);
  }
  flush_standard_streams();
  ::_exit(code);
}

}  // namespace

class process::child {
 public:
  child(int (*function)(void*), void* context) : process_(fork(function, context)) { shared_.let_begin(); }

  [[nodiscard]] const os::pidfd& descriptor() const noexcept { return process_; }

  bool wait_until(deadline until) const {
    for (;;) {
      switch (process_.wait_until(until)) {
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
    if (const std::optional<handover::failure> failure = shared_.reported()) {
      reap_ignoring_errors();
      throw remote_error(failure->type, failure->message, "process " + std::to_string(process_.id()));
    }
    return process_.try_reap().value();
  }

 private:
  os::pidfd fork(int (*function)(void*), void* context) {
    flush_standard_streams();
    const pid_t parent = ::getpid();
    // glibc's fork, never a raw clone: locks that record their owner, robust ones above all, rely on the thread ids it
    // renews.
    const pid_t pid = os::check(::fork(), "starting a process");
    if (pid == 0) {
      run_child(function, context, parent, shared_);
    }
    try {
      return os::pidfd::open(pid);
    } catch (...) {
      // The child waits for its permission to begin, so it is ours still, and has done nothing.
      ::kill(pid, SIGKILL);
      while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
      }
      throw;
    }
  }

  void reap_ignoring_errors() noexcept {
    try {
      process_.try_reap();
    } catch (...) {
      // The program ignores SIGCHLD: then there is nothing to reap.
    }
  }

  handover shared_;  // before process_, which is made by a fork that shares it
  os::pidfd process_;
};

process::process() noexcept = default;
process::process(process&&) noexcept = default;

process& process::operator=(process&& other) noexcept {
  if (joinable()) {
    std::terminate();
  }
  child_ = std::move(other.child_);
  return *this;
}

process::~process() {
  if (joinable()) {
    std::terminate();
  }
}

void process::start(int (*function)(void*), void* context) { child_ = std::make_unique<child>(function, context); }

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

pid_t process::id() const noexcept { return joinable() ? child_->descriptor().id() : 0; }

int process::native_handle() const noexcept { return joinable() ? child_->descriptor().get() : -1; }

void process::terminate() const {
  if (joinable()) {
    child_->descriptor().send_signal(SIGTERM);
  }
}

void process::kill() const {
  if (joinable()) {
    child_->descriptor().send_signal(SIGKILL);
  }
}

}  // namespace shoal
