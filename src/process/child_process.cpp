#include "process/child_process.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <ctime>
#include <system_error>

#include "os/error.hpp"
#include "process/fork_server_messages.hpp"

namespace shoal {

using os::pidfd;

pidfd::wait_result child_process::wait_until(deadline until) const {
  const pidfd::wait_result how = process_.wait_until(until);
  if (how != pidfd::wait_result::ended || status_) {
    return how;
  }
  return served_ ? wait_for_server(until) : wait_for_tracer(until);
}

pidfd::wait_result child_process::wait_for_server(deadline until) const {
  if (server_.get() < 0) {
    return pidfd::wait_result::ended;  // a fork of the starter, which is told nothing
  }
  constexpr std::chrono::milliseconds patience{1'000};
  pollfd told{.fd = server_.get(), .events = POLLIN, .revents = 0};
  const int count = ::poll(&told, 1, until == forever ? -1 : static_cast<int>(patience.count()));
  if (count < 0) {
    return pidfd::wait_result::interrupted;
  }
  return count == 0 ? pidfd::wait_result::timed_out : pidfd::wait_result::ended;
}

pidfd::wait_result child_process::wait_for_tracer(deadline until) const {
  while (!process_.is_reapable()) {
    if (std::chrono::steady_clock::now() >= until) {
      return pidfd::wait_result::timed_out;
    }
    constexpr timespec moment{.tv_sec = 0, .tv_nsec = 2'000'000};
    if (::nanosleep(&moment, nullptr) != 0) {
      return pidfd::wait_result::interrupted;
    }
  }
  return pidfd::wait_result::ended;
}

std::optional<exit_status> child_process::told_by_server() const {
  fork_server_message said{};
  ssize_t size = 0;
  do {
    size = ::recv(server_.get(), &said, sizeof said, MSG_DONTWAIT);
  } while (size < 0 && errno == EINTR);
  if (size == static_cast<ssize_t>(sizeof said)) {
    return said.what == fork_server_message::kind::exited ? exit_status::exited_with(said.number)
                                                          : exit_status::killed_by(said.number);
  }
  if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
    return std::nullopt;
  }
  // The server was killed before its child; somebody else reaps that now.
  if (const std::optional<exit_status> known = process_.exit_of_reaped()) {
    return known;
  }
  os::throw_errno("process " + std::to_string(id()) +
                      " has ended, but how is not known, because the fork server that had started it was killed",
                  ECHILD);
}

std::optional<exit_status> child_process::try_reap() {
  if (!served_) {
    return process_.try_reap();
  }
  if (!status_ && process_.wait_until(no_waiting) == pidfd::wait_result::ended) {
    status_ = told_by_server();
  }
  return status_;
}

}  // namespace shoal
