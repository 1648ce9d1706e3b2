#pragma once

#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <limits>
#include <utility>

#include "os/error.hpp"

// Kills a child after a given number of instructions or system calls, by ptrace. Slower than single_step.hpp, but it
// goes where a process cannot observe itself: through fork and posix_spawn, which block all signals for a while.
namespace shoal::test {

/// Whether ptrace is permitted here.
inline bool may_trace() {
  const pid_t id = ::fork();
  if (id == 0) {
    ::_exit(::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) == 0 ? 0 : 1);
  }
  int status = 0;
  ::waitpid(id, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

enum class pace { instruction, system_call };

struct stepped {
  long steps;       ///< how many it was let do; a system call counts twice, when it begins and when it ends
  bool was_killed;  ///< false: it had ended before
};

/// Forks a child that does `function`, and kills it after `most` steps of it. Processes that it starts go on.
template <class Function>
stepped run_and_kill_after(Function function, long most, pace by = pace::instruction) {
  const pid_t id = os::check(::fork(), "starting a process");
  if (id == 0) {
    ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    ::raise(SIGSTOP);
    function();
    ::_exit(0);
  }
  int status = 0;
  const auto wait = [&] {
    while (::waitpid(id, &status, 0) < 0 && errno == EINTR) {
    }
  };
  wait();
  long steps = 0;
  int signal = 0;  // one that is on its way to the child, and not of the tracing
  while (steps < most && WIFSTOPPED(status)) {
    ::ptrace(by == pace::instruction ? PTRACE_SINGLESTEP : PTRACE_SYSCALL, id, nullptr, signal);
    wait();
    signal = WIFSTOPPED(status) && WSTOPSIG(status) != SIGTRAP ? WSTOPSIG(status) : 0;
    steps += signal == 0 ? 1 : 0;
  }
  const bool lives = WIFSTOPPED(status);
  if (lives) {
    ::kill(id, SIGKILL);
    wait();
  }
  return {steps, lives};
}

}  // namespace shoal::test
