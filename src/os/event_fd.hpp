#pragma once

#include <sys/eventfd.h>

#include <cstdint>

#include "os/descriptor_limit.hpp"
#include "os/file_descriptor.hpp"

namespace shoal::os {

/// An eventfd used as a flag that can be polled: readable while raised. See eventfd(2).
/// Threads, processes: all members may be called concurrently. Async-signal-safe.
class event_fd {
 public:
  /// @throws std::system_error  no descriptor left.
  event_fd() : fd_(new_descriptor("creating an eventfd", [] { return ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); })) {}

  /// Takes over an open eventfd.
  explicit event_fd(file_descriptor fd) noexcept : fd_(std::move(fd)) {}

  [[nodiscard]] int get() const noexcept { return fd_.get(); }
  [[nodiscard]] file_descriptor release() noexcept { return std::move(fd_); }

  void raise() const noexcept { raise(fd_.get()); }
  void lower() const noexcept { lower(fd_.get()); }

  static void raise(int fd, std::uint64_t times = 1) noexcept {
    // EAGAIN means the counter is at its maximum, which is readable as well.
    [[maybe_unused]] const auto written = ::write(fd, &times, sizeof times);
  }

  /// @return how often it had been raised.
  static std::uint64_t lower(int fd) noexcept {
    std::uint64_t count = 0;
    return ::read(fd, &count, sizeof count) == static_cast<ssize_t>(sizeof count) ? count : 0;
  }

 private:
  file_descriptor fd_;
};

}  // namespace shoal::os
