#include "os/death_notice.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <mutex>

#include "os/event_fd.hpp"
#include "os/forks.hpp"

namespace shoal::os {
namespace {

constexpr int most_requests = 64;

std::mutex& mutex() {
  static auto* const only = new std::mutex();
  return *only;
}

/// The process's context, made at the first use; 0 if there can be none. Under the mutex. A child does not inherit it.
aio_context_t context(std::uint64_t generation_now) {
  static std::uint64_t made_at = 0;
  static aio_context_t made = 0;
  if (made_at != generation_now) {
    made_at = generation_now;
    made = 0;
    if (::syscall(SYS_io_setup, most_requests, &made) != 0) {
      made = 0;
    }
  }
  return made;
}

// One eventfd that nobody ever raises serves all requests of a process and its children.
int never_readable() {
  static const int only = event_fd().release().release();
  return only;
}

}  // namespace

death_notice::death_notice(int eventfd) noexcept {
  try {
    const no_fork now;
    const std::scoped_lock lock(mutex());
    request_.aio_fildes = static_cast<std::uint32_t>(never_readable());
    request_.aio_lio_opcode = IOCB_CMD_POLL;
    request_.aio_buf = POLLIN;
    request_.aio_flags = IOCB_FLAG_RESFD;
    request_.aio_resfd = static_cast<std::uint32_t>(eventfd);
    iocb* requested = &request_;
    if (const aio_context_t with = context(generation());
        with != 0 && ::syscall(SYS_io_submit, with, 1, &requested) == 1) {
      made_at_ = generation();
    }
  } catch (const std::system_error&) {  // no descriptor left: then there is no notice
  }
}

death_notice::~death_notice() {
  const no_fork now;
  const std::scoped_lock lock(mutex());
  if (made_at_ == 0 || made_at_ != generation()) {
    return;
  }
  std::array<io_event, most_requests> events{};
  timespec none{};
  const aio_context_t with = context(made_at_);
  ::syscall(SYS_io_cancel, with, &request_, events.data());
  ::syscall(SYS_io_getevents, with, 0, most_requests, events.data(), &none);  // makes room for another
}

bool is_dying(int process) noexcept {
  std::array<char, 32> path{};
  std::snprintf(path.data(), path.size(), "/proc/%d/stat", process);
  const file_descriptor fd(::open(path.data(), O_RDONLY | O_CLOEXEC));
  std::array<char, 512> text{};
  if (!fd || ::read(fd.get(), text.data(), text.size() - 1) <= 0) {
    return false;
  }
  // Behind the name, which may hold anything but ends at the last bracket: state, parent, group, session, terminal, its
  // group, flags. See proc(5).
  const char* const name_end = std::strrchr(text.data(), ')');
  unsigned flags = 0;
  constexpr unsigned exiting = 0x4;  // PF_EXITING
  return name_end != nullptr && std::sscanf(name_end + 1, " %*c %*d %*d %*d %*d %*d %u", &flags) == 1 &&
         (flags & exiting) != 0;
}

}  // namespace shoal::os
