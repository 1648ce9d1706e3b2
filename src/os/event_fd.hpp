#pragma once

#include <sys/eventfd.h>

#include <cstdint>

#include "os/file_descriptor.hpp"

namespace shoal::os {

/// An eventfd used as a flag that can be polled: readable while raised. See eventfd(2).
/// Threads, processes: all members may be called concurrently. Async-signal-safe.
class event_fd {
 public:
  /// @throws std::system_error  no descriptor left.
  event_fd() : fd_(check(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "creating an eventfd")) {}

  /// Takes over an open eventfd.
  explicit event_fd(file_descriptor fd) noexcept : fd_(std::move(fd)) {}

  [[nodiscard]] int get() const noexcept { return fd_.get(); }

  void raise() const noexcept {
    const std::uint64_t one = 1;
    // EAGAIN means the counter is at its maximum, which is readable as well.
    [[maybe_unused]] const auto written = ::write(fd_.get(), &one, sizeof one);
  }

  void lower() const noexcept {
    std::uint64_t count = 0;
    [[maybe_unused]] const auto got = ::read(fd_.get(), &count, sizeof count);
  }

 private:
  file_descriptor fd_;
};

}  // namespace shoal::os
