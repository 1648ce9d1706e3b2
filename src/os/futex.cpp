#include "os/futex.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>

namespace shoal::os {

futex_result futex_wait(const futex_word& word, std::uint32_t expected, deadline until) noexcept {
  timespec limit{};
  timespec* limit_or_none = nullptr;
  if (until != forever) {
    // steady_clock is CLOCK_MONOTONIC, which is also what FUTEX_WAIT_BITSET measures an absolute timeout by.
    using std::chrono::nanoseconds;
    const auto since_start = std::chrono::duration_cast<nanoseconds>(until.time_since_epoch());
    const auto count = since_start.count() < 0 ? 0 : since_start.count();
    limit.tv_sec = static_cast<time_t>(count / 1'000'000'000);
    limit.tv_nsec = static_cast<long>(count % 1'000'000'000);
    limit_or_none = &limit;
  }
  const long result =
      ::syscall(SYS_futex, &word, FUTEX_WAIT_BITSET, expected, limit_or_none, nullptr, FUTEX_BITSET_MATCH_ANY);
  if (result == 0) {
    return futex_result::woken;
  }
  switch (errno) {
    case EAGAIN:
      return futex_result::changed;
    case ETIMEDOUT:
      return futex_result::timed_out;
    default:
      return futex_result::interrupted;
  }
}

int futex_wake(const futex_word& word, int count) noexcept {
  return static_cast<int>(::syscall(SYS_futex, &word, FUTEX_WAKE, count, nullptr, nullptr, 0));
}

}  // namespace shoal::os
