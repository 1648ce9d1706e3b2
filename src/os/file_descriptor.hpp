#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <utility>

#include "os/descriptor_limit.hpp"
#include "os/error.hpp"

namespace shoal::os {

/// Owns one file descriptor; closes it at the end. Movable; empty when moved from.
class file_descriptor {
 public:
  file_descriptor() noexcept = default;
  explicit file_descriptor(int fd) noexcept : fd_(fd) {}
  file_descriptor(file_descriptor&& other) noexcept : fd_(other.release()) {}
  file_descriptor& operator=(file_descriptor&& other) noexcept {
    reset(other.release());
    return *this;
  }
  file_descriptor(const file_descriptor&) = delete;
  file_descriptor& operator=(const file_descriptor&) = delete;
  ~file_descriptor() { reset(); }

  /// A second descriptor, closed on exec, for what `fd` refers to.
  /// @throws std::system_error  fd is not open, or no descriptor is left.
  static file_descriptor duplicate(int fd) {
    return file_descriptor(
        new_descriptor("duplicating a descriptor", [fd] { return ::fcntl(fd, F_DUPFD_CLOEXEC, 0); }));
  }

  [[nodiscard]] int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }
  [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }

  void reset(int fd = -1) noexcept {
    if (const int old = std::exchange(fd_, fd); old >= 0) {
      ::close(old);  // never retried: Linux has released the number even when close reports EINTR
    }
  }

 private:
  int fd_ = -1;
};

}  // namespace shoal::os
