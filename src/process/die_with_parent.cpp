#include "shoal/die_with_parent.hpp"

#include <sys/prctl.h>
#include <unistd.h>

#include <csignal>

#include "os/error.hpp"

namespace shoal {
namespace {

volatile pid_t awaited_parent = 0;  // written before the handler can run

void die_now() noexcept {
  ::kill(::getpid(), SIGKILL);
  ::_exit(128 + SIGKILL);
}

extern "C" void shoal_on_parent_death(int /*signal*/) {
  // The signal also comes when only the thread ended that had forked this process. The kernel has then made another
  // thread of the parent responsible, and will send it again when that one ends.
  if (::getppid() != awaited_parent) {
    die_now();
  }
}

}  // namespace

void die_with_parent() { die_with_parent(::getppid()); }

void die_with_parent(pid_t parent) {
  const int notice = SIGRTMAX - 1;
  awaited_parent = parent;

  struct sigaction action {};
  action.sa_handler = shoal_on_parent_death;
  action.sa_flags = SA_RESTART;
  ::sigfillset(&action.sa_mask);
  os::check(::sigaction(notice, &action, nullptr), "installing the handler for the death of the parent process");

  sigset_t only_notice;
  ::sigemptyset(&only_notice);
  ::sigaddset(&only_notice, notice);
  ::pthread_sigmask(SIG_UNBLOCK, &only_notice, nullptr);  // a blocked signal is inherited as such, across exec too

  os::check(::prctl(PR_SET_PDEATHSIG, static_cast<unsigned long>(notice)),
            "asking for a signal at the death of the parent process");
  if (::getppid() != parent) {
    die_now();  // it died before the kernel was told
  }
}

}  // namespace shoal
