#include "shoal/die_with_parent.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <csignal>

#include "os/error.hpp"
#include "process/die_with_starter.hpp"

namespace shoal {
namespace {

// Written before the handler can run.
volatile pid_t awaited_parent = 0;
volatile int awaited_channel = -1;
volatile pid_t asked_by = 0;  // a fork of the process that asked inherits the handler, but nobody's death concerns it

[[nodiscard]] int notice() noexcept { return SIGRTMAX - 1; }

void die_now() noexcept {
  ::kill(::getpid(), SIGKILL);
  ::_exit(128 + SIGKILL);
}

bool is_abandoned(int channel) noexcept {
  pollfd other_end{.fd = channel, .events = 0, .revents = 0};
  return ::poll(&other_end, 1, 0) == 1 && (other_end.revents & POLLHUP) != 0;
}

extern "C" void shoal_on_parent_death(int /*signal*/) {
  const int error = errno;
  if (asked_by == ::getpid()) {
    // The signal also comes when only the thread ended that had forked this process. The kernel has then made another
    // thread of the parent responsible, and will send it again when that one ends.
    if (awaited_parent != 0 && ::getppid() != awaited_parent) {
      die_now();
    }
    if (awaited_channel >= 0 && is_abandoned(awaited_channel)) {
      die_now();
    }
  }
  errno = error;
}

void install_handler() {
  asked_by = ::getpid();
  struct sigaction action {};
  action.sa_handler = shoal_on_parent_death;
  action.sa_flags = SA_RESTART;
  ::sigfillset(&action.sa_mask);
  os::check(::sigaction(notice(), &action, nullptr), "installing the handler for the death of the parent process");

  sigset_t only_notice;
  ::sigemptyset(&only_notice);
  ::sigaddset(&only_notice, notice());
  ::pthread_sigmask(SIG_UNBLOCK, &only_notice, nullptr);  // a blocked signal is inherited as such, across exec too
}

}  // namespace

void die_with_parent() { die_with_parent(::getppid()); }

void die_with_parent(pid_t parent) {
  if (asked_by != ::getpid()) {
    awaited_channel = -1;  // inherited
  }
  awaited_parent = parent;
  install_handler();
  os::check(::prctl(PR_SET_PDEATHSIG, static_cast<unsigned long>(notice())),
            "asking for a signal at the death of the parent process");
  if (::getppid() != parent) {
    die_now();  // it died before the kernel was told
  }
}

void die_with_starter(int channel) {
  if (asked_by != ::getpid()) {
    awaited_parent = 0;  // inherited
  }
  awaited_channel = channel;
  install_handler();
  constexpr const char* attempt = "asking for a signal at the death of the process that started this one";
  os::check(::fcntl(channel, F_SETSIG, notice()), attempt);
  os::check(::fcntl(channel, F_SETOWN, ::getpid()), attempt);
  os::check(::fcntl(channel, F_SETFL, os::check(::fcntl(channel, F_GETFL), attempt) | O_ASYNC), attempt);
  if (is_abandoned(channel)) {
    die_now();
  }
}

}  // namespace shoal
