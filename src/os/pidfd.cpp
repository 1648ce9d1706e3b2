#include "os/pidfd.hpp"

#include <sys/ioctl.h>
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

// struct pidfd_info of linux/pidfd.h, and its ioctl, see there.
struct exit_information {
  std::uint64_t mask;
  std::uint64_t control_group;
  std::uint32_t ids[11];
  std::int32_t wait_status;
};
static_assert(sizeof(exit_information) == 64);
constexpr unsigned long get_information = _IOWR(0xFF, 11, exit_information);
constexpr std::uint64_t exit_wanted = 1U << 3;

}  // namespace

pidfd pidfd::open(pid_t pid) {
  // The descriptor is closed on exec without being asked to.
  return {file_descriptor(new_descriptor("opening a descriptor for a process",
                                         [pid] { return static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)); })),
          pid};
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

bool pidfd::is_reapable() const noexcept {
  siginfo_t info{};
  return ::waitid(wait_by_pidfd, static_cast<id_t>(fd_.get()), &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
         info.si_pid != 0;
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

std::optional<exit_status> pidfd::exit_of_reaped() const noexcept {
  for (int attempt = 0; attempt < 100; ++attempt) {
    exit_information information{};
    information.mask = exit_wanted;
    if (::ioctl(fd_.get(), get_information, &information) == 0 && (information.mask & exit_wanted) != 0) {
      const int status = information.wait_status;
      return WIFEXITED(status) ? exit_status::exited_with(WEXITSTATUS(status))
                               : exit_status::killed_by(WTERMSIG(status));
    }
    constexpr timespec millisecond{.tv_sec = 0, .tv_nsec = 1'000'000};
    ::nanosleep(&millisecond, nullptr);
  }
  return std::nullopt;
}

void pidfd::send_signal(int signal) const {
  if (::syscall(SYS_pidfd_send_signal, fd_.get(), signal, nullptr, 0) != 0 && errno != ESRCH) {
    throw_errno("sending signal " + std::to_string(signal) + " to process " + std::to_string(pid_));
  }
}

}  // namespace shoal::os
