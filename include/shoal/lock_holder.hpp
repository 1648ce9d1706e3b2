#pragma once

#include <chrono>
#include <cstdint>

namespace shoal {

/// Who holds a lock, or held it when it died.
struct lock_holder {
  std::int32_t process = 0;  ///< its process id; 0: not known any more
  std::int32_t thread = 0;   ///< its kernel thread id (gettid(2)); that of a main thread is its process id
  std::int64_t since = 0;    ///< when it locked, on the monotonic clock in nanoseconds, to some milliseconds
  bool alive = false;        ///< whether the thread lives

  [[nodiscard]] std::chrono::steady_clock::time_point locked_at() const noexcept {
    return std::chrono::steady_clock::time_point(std::chrono::nanoseconds(since));
  }
};

}  // namespace shoal
