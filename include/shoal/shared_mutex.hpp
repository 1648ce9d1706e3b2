#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "shoal/deadline.hpp"
#include "shoal/detail/arena_slot.hpp"
#include "shoal/detail/lockable.hpp"
#include "shoal/detail/timeouts.hpp"
#include "shoal/lock_holder.hpp"
#include "shoal/owner_died.hpp"

namespace shoal {

namespace sync {
class shared_lock;
}

/// A mutex shared by processes that many may share to read, or one may have to write, with the interface of
/// `std::shared_timed_mutex`. It survives the death of readers and writers.
///
/// A reader that dies is forgotten. A writer that dies leaves what the mutex guards half changed: the next writer is
/// told as with `mutex`, and so is each reader, lock_shared() throwing `owner_died` with the mutex shared, until a
/// writer has called consistent().
///
/// Writers go before readers: none begins to read while one waits or writes. A thread may share 16 of them at a time.
/// Locking one for writing looks at each thread that has ever used its arena, so it suits many readers and few writers.
///
/// Threads, fork, other processes, kill-safety, fairness: as `mutex`. The thread that locked it must unlock it.
/// Meets: Cpp17SharedTimedLockableRequirements, Cpp17TimedLockableRequirements.
class shared_mutex {
 public:
  using native_handle_type = slot_location;

  /// @throws std::system_error, std::bad_alloc  no descriptor or memory left.
  explicit shared_mutex(std::string_view label = {});
  /// @throws shoal::error       there is no shared mutex there. @throws std::system_error  the descriptor is not open.
  explicit shared_mutex(native_handle_type handle);
  shared_mutex(shared_mutex&&) noexcept;
  shared_mutex& operator=(shared_mutex&&) noexcept;
  ~shared_mutex();

  /// Waits until nobody holds or shares it.
  /// @throws  as mutex::lock(); a thread that shares it already waits for itself.
  void lock();
  /// @return false if somebody holds or shares it. @throws  as lock().
  [[nodiscard]] bool try_lock();
  template <class Rep, class Period>
  [[nodiscard]] bool try_lock_for(const std::chrono::duration<Rep, Period>& timeout) {
    return lock_until(after(timeout));
  }
  template <class Clock, class Duration>
  [[nodiscard]] bool try_lock_until(const std::chrono::time_point<Clock, Duration>& until) {
    return detail::attempt_until(until, [this](deadline limit) { return lock_until(limit); });
  }
  /// @throws std::system_error  operation_not_permitted: this thread does not hold it.
  void unlock();

  /// Waits until nobody holds it, then shares it.
  /// @throws owner_died         and it is shared. @throws std::bad_alloc  at a thread's first lock: no memory.
  /// @throws std::system_error  resource_deadlock_would_occur: this thread holds it. state_not_recoverable: see
  ///                            owner_died. resource_unavailable_try_again: this thread shares 16 already.
  void lock_shared();
  /// @return false if somebody holds it. @throws  as lock_shared().
  [[nodiscard]] bool try_lock_shared();
  template <class Rep, class Period>
  [[nodiscard]] bool try_lock_shared_for(const std::chrono::duration<Rep, Period>& timeout) {
    return lock_shared_until(after(timeout));
  }
  template <class Clock, class Duration>
  [[nodiscard]] bool try_lock_shared_until(const std::chrono::time_point<Clock, Duration>& until) {
    return detail::attempt_until(until, [this](deadline limit) { return lock_shared_until(limit); });
  }
  /// @throws std::system_error  operation_not_permitted: this thread does not share it.
  void unlock_shared();

  /// After `owner_died` from lock() or its timed forms: what the mutex guards is as it should be again.
  void consistent() noexcept;

  /// Who holds it alone; nothing if nobody does. May be out of date when it returns.
  [[nodiscard]] std::optional<lock_holder> holder() const;
  [[nodiscard]] std::string label() const;

  /// For another process. Afterwards the memory of this mutex is not used for another one.
  [[nodiscard]] native_handle_type native_handle() noexcept;

 private:
  bool lock_until(deadline until);
  bool lock_shared_until(deadline until);

  std::unique_ptr<sync::shared_lock> lock_;
};

/// Every mutex here is a timed one.
using shared_timed_mutex = shared_mutex;

static_assert(detail::timed_lockable<shared_mutex>);
static_assert(detail::shared_timed_lockable<shared_mutex>);

}  // namespace shoal
