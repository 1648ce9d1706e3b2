#include "os/pidfd.hpp"

#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <string>

#include "os/poll.hpp"

namespace shoal::os {
namespace {

// Older headers than the kernel: glibc has these since 2.36 only.
constexpr auto wait_by_pidfd = static_cast<idtype_t>(3);

}  // namespace

pidfd pidfd::open(pid_t pid) {
  // The descriptor is closed on exec without being asked to.
  const auto fd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  if (fd < 0) {
    throw_errno("opening a descriptor for process " + std::to_string(pid));
  }
  return {file_descriptor(fd), pid};
}

pidfd::wait_result pidfd::wait_until(deadline until) const {
  pollfd ended{.fd = fd_.get(), .events = POLLIN, .revents = 0};
  switch (poll_until({&ended, 1}, until)) {
    case poll_result::ready:
      return wait_result::ended;
    case poll_result::timed_out:
      return wait_result::timed_out;
    case poll_result::interrupted:
      break;
  }
  return wait_result::interrupted;
}

std::optional<exit_status> pidfd::try_reap() {
  if (status_) {
    return status_;
  }
  siginfo_t info{};
  int result = 0;
  do {
    result = ::waitid(wait_by_pidfd, static_cast<id_t>(fd_.get()), &info, WEXITED | WNOHANG);
  } while (result < 0 && errno == EINTR);
  if (result < 0) {
    if (errno != ECHILD) {
      throw_errno("asking how process " + std::to_string(pid_) + " ended");
    }
    throw_errno(
        "process " + std::to_string(pid_) +
            " has ended, but how is not known: the program ignores SIGCHLD or has waited for the process by other "
            "means (wait, waitpid), or it is not a child of this process",
        ECHILD);
  }
  if (info.si_pid == 0) {
    return std::nullopt;
  }
  status_ =
      info.si_code == CLD_EXITED ? exit_status::exited_with(info.si_status) : exit_status::killed_by(info.si_status);
  return status_;
}

void pidfd::send_signal(int signal) const {
  if (::syscall(SYS_pidfd_send_signal, fd_.get(), signal, nullptr, 0) != 0 && errno != ESRCH) {
    throw_errno("sending signal " + std::to_string(signal) + " to process " + std::to_string(pid_));
  }
}

}  // namespace shoal::os
