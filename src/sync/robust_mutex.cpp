#include "sync/robust_mutex.hpp"

#include <sched.h>

#include <cerrno>
#include <ctime>

#include "os/error.hpp"
#include "sync/cpu.hpp"

namespace shoal::sync {
namespace {

constexpr int spins = 100;  // about 4 us: longer than any critical section over a small record

lock_result result_of(int code) noexcept {
  switch (code) {
    case 0:
      return lock_result::acquired;
    case EOWNERDEAD:
      return lock_result::owner_died;
    case EBUSY:
    case ETIMEDOUT:
      return lock_result::timed_out;
    default:
      return lock_result::unusable;
  }
}

}  // namespace

void robust_mutex::initialize() {
  pthread_mutexattr_t attributes;
  ::pthread_mutexattr_init(&attributes);
  ::pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  ::pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  const int code = ::pthread_mutex_init(&mutex_, &attributes);
  ::pthread_mutexattr_destroy(&attributes);
  if (code != 0) {
    os::throw_errno("initializing a robust mutex", code);
  }
}

lock_result robust_mutex::try_lock() noexcept { return result_of(::pthread_mutex_trylock(&mutex_)); }

lock_result robust_mutex::spin_lock() noexcept {
  lock_result result = try_lock();
  for (int i = 0; result == lock_result::timed_out && i < spins && has_several_cpus(); ++i) {
    pause();
    result = try_lock();
  }
  return result;
}

lock_result robust_mutex::lock_until(deadline until) noexcept {
#ifdef __SANITIZE_THREAD__
  // gcc 12's ThreadSanitizer does not know pthread_mutex_clocklock, and would take each unlock after it for a mistake.
  lock_result result = try_lock();
  while (result == lock_result::timed_out && std::chrono::steady_clock::now() < until) {
    ::sched_yield();
    result = try_lock();
  }
  return result;
#else
  if (until == forever) {
    return result_of(::pthread_mutex_lock(&mutex_));
  }
  const auto count = std::chrono::duration_cast<std::chrono::nanoseconds>(until.time_since_epoch()).count();
  const timespec limit{.tv_sec = static_cast<time_t>(count < 0 ? 0 : count / 1'000'000'000),
                       .tv_nsec = static_cast<long>(count < 0 ? 0 : count % 1'000'000'000)};
  return result_of(::pthread_mutex_clocklock(&mutex_, CLOCK_MONOTONIC, &limit));
#endif
}

}  // namespace shoal::sync
