#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <memory>
#include <type_traits>

#include "shoal/deadline.hpp"
#include "shoal/detail/arena_slot.hpp"
#include "shoal/detail/timeouts.hpp"

namespace shoal {

namespace sync {
class wait_line;
}

/// A condition variable shared by processes, with the interface of `std::condition_variable_any`: it works with
/// `std::unique_lock<shoal::mutex>` and with every other lock that has lock() and unlock().
///
/// Waiters are notified first come, first served. A notification is for a living thread: one whose receiver is killed
/// before it has the lock again goes to another waiter, within a second or with the next notification. After such a
/// death, and only then, wait() may return without a notification; as with every condition variable, wait with a
/// predicate.
///
/// wait() throws what locking again throws, `owner_died` for example: the lock is held then, unless that says
/// otherwise.
///
/// Threads: all members may be called concurrently; notifying needs no lock. fork: the child shares it. Other
/// processes: construct one from native_handle(). Kill-safety: at any instruction. notify costs a look at each thread
/// that has used its arena while somebody waits, and one load while nobody does. Moved from, it can only be assigned to
/// or destroyed.
class condition_variable {
 public:
  using native_handle_type = slot_location;

  /// @throws std::system_error, std::bad_alloc  no descriptor or memory left.
  condition_variable();
  /// @throws shoal::error  there is no condition variable there. @throws std::system_error  the descriptor is not open.
  explicit condition_variable(native_handle_type handle);
  condition_variable(condition_variable&&) noexcept;
  condition_variable& operator=(condition_variable&&) noexcept;
  ~condition_variable();

  void notify_one() noexcept;
  void notify_all() noexcept;

  /// Unlocks, waits until notified, and locks again. Interrupted by no signal.
  /// @throws std::bad_alloc  at a thread's first wait: no memory; the lock is held. Else as `lock` does.
  template <class Lock>
  void wait(Lock& lock) {
    (void)wait_until_deadline(lock, deadline::max());
  }
  template <class Lock, class Predicate>
  void wait(Lock& lock, Predicate predicate) {
    while (!predicate()) {
      wait(lock);
    }
  }

  template <class Lock, class Rep, class Period>
  std::cv_status wait_for(Lock& lock, const std::chrono::duration<Rep, Period>& timeout) {
    return status_of(wait_until_deadline(lock, after(timeout)));
  }
  template <class Lock, class Rep, class Period, class Predicate>
  bool wait_for(Lock& lock, const std::chrono::duration<Rep, Period>& timeout, Predicate predicate) {
    return wait_until(lock, after(timeout), predicate);
  }

  /// On a clock that was set back meanwhile it may return, as if notified, before it shows `until`.
  template <class Lock, class Clock, class Duration>
  std::cv_status wait_until(Lock& lock, const std::chrono::time_point<Clock, Duration>& until) {
    if (wait_until_deadline(lock, detail::deadline_of(until))) {
      return std::cv_status::no_timeout;
    }
    // Not to wait once more: between two waits the caller has to look at what it waits for.
    return status_of(!std::is_same_v<Clock, std::chrono::steady_clock> && detail::deadline_of(until) != no_waiting);
  }
  template <class Lock, class Clock, class Duration, class Predicate>
  bool wait_until(Lock& lock, const std::chrono::time_point<Clock, Duration>& until, Predicate predicate) {
    while (!predicate()) {
      if (wait_until(lock, until) == std::cv_status::timeout) {
        return predicate();
      }
    }
    return true;
  }

  /// For another process. Afterwards the memory of this condition variable is not used for another one.
  [[nodiscard]] native_handle_type native_handle() noexcept;

 private:
  /// A place in line, in memory of the caller.
  class place {
   public:
    explicit place(sync::wait_line& line);
    place(const place&) = delete;
    place& operator=(const place&) = delete;
    ~place();
    bool wait_until(deadline until);

   private:
    static constexpr std::size_t size = 5 * sizeof(void*);
    alignas(void*) std::byte memory_[size];
  };

  static std::cv_status status_of(bool notified) noexcept {
    return notified ? std::cv_status::no_timeout : std::cv_status::timeout;
  }

  template <class Lock>
  bool wait_until_deadline(Lock& lock, deadline until) {
    // In line before the lock is free, and until it is held again: a notification in between is for us, and if we die
    // in between it goes to somebody else.
    const std::shared_ptr<sync::wait_line> kept = line_;  // it may be destroyed once all were notified
    place mine(*kept);
    lock.unlock();
    const relock again(lock);
    return mine.wait_until(until);
  }

  template <class Lock>
  class relock {
   public:
    explicit relock(Lock& lock) : lock_(lock) {}
    relock(const relock&) = delete;
    relock& operator=(const relock&) = delete;
    ~relock() noexcept(false) { lock_.lock(); }

   private:
    Lock& lock_;
  };

  std::shared_ptr<sync::wait_line> line_;
};

}  // namespace shoal
