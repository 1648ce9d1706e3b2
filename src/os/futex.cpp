#include "os/futex.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <ctime>

namespace shoal::os {
namespace {

/// `until` as the kernel takes it. steady_clock is CLOCK_MONOTONIC.
timespec absolute(deadline until) noexcept {
  using std::chrono::nanoseconds;
  const auto since_start = std::chrono::duration_cast<nanoseconds>(until.time_since_epoch());
  const auto count = since_start.count() < 0 ? 0 : since_start.count();
  return {.tv_sec = static_cast<time_t>(count / 1'000'000'000), .tv_nsec = static_cast<long>(count % 1'000'000'000)};
}

futex_result result_of(long returned) noexcept {
  if (returned >= 0) {
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

}  // namespace

futex_result futex_wait(const futex_word& word, std::uint32_t expected, deadline until) noexcept {
  const timespec limit = until == forever ? timespec{} : absolute(until);
  return result_of(::syscall(SYS_futex, &word, FUTEX_WAIT_BITSET, expected, until == forever ? nullptr : &limit,
                             nullptr, FUTEX_BITSET_MATCH_ANY));
}

futex_result futex_wait_either(futex_expectation first, futex_expectation second, deadline until) noexcept {
#ifdef SYS_futex_waitv
  const timespec limit = until == forever ? timespec{} : absolute(until);
  const auto waiter = [](const futex_expectation& on) {
    return futex_waitv{
        .val = on.expected, .uaddr = reinterpret_cast<std::uintptr_t>(on.word), .flags = FUTEX_32, .__reserved = 0};
  };
  std::array<futex_waitv, 2> waiters{waiter(first), waiter(second)};
  const long returned = ::syscall(SYS_futex_waitv, waiters.data(), waiters.size(), 0U,
                                  until == forever ? nullptr : &limit, CLOCK_MONOTONIC);
  if (returned == 1) {  // the last of those that were woken
    return futex_result::second_woken;
  }
  if (returned == 0 || (errno != ENOSYS && errno != EPERM)) {  // EPERM: forbidden in a container
    return result_of(returned);
  }
#endif
  (void)second;
  return futex_wait(*first.word, first.expected, until);
}

int futex_wake(const futex_word& word, int count) noexcept {
  return static_cast<int>(::syscall(SYS_futex, &word, FUTEX_WAKE, count, nullptr, nullptr, 0));
}

}  // namespace shoal::os
