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
class owner_lock;
}

/// A mutex shared by processes that a thread may lock again while it holds it, with the interface of
/// `std::recursive_timed_mutex`. It survives the death of its holder as `mutex` does; all that is said there holds
/// here.
///
/// Meets: Cpp17TimedLockableRequirements. Moved from, it can only be assigned to or destroyed.
class recursive_mutex {
 public:
  using native_handle_type = slot_location;

  /// @param label  shown where locks are listed; cut off after 31 bytes.
  /// @throws std::system_error, std::bad_alloc  no descriptor or memory left.
  explicit recursive_mutex(std::string_view label = {});

  /// The mutex that another process has sent the handle of; `arena` is a descriptor for the same file here.
  /// @throws shoal::error       there is no recursive mutex there. @throws std::system_error  the descriptor is not
  /// open.
  explicit recursive_mutex(native_handle_type handle);

  recursive_mutex(recursive_mutex&&) noexcept;
  recursive_mutex& operator=(recursive_mutex&&) noexcept;
  ~recursive_mutex();

  /// Waits until nobody else holds it, and counts how often this thread does. Interrupted by no signal.
  /// @throws owner_died         and it is held. @throws std::bad_alloc  at a thread's first lock: no memory.
  /// @throws std::system_error  state_not_recoverable: see owner_died.
  void lock();

  /// @return false if somebody else holds it. @throws  as lock().
  [[nodiscard]] bool try_lock();

  /// @return false if somebody else held it until then. @throws  as lock().
  template <class Rep, class Period>
  [[nodiscard]] bool try_lock_for(const std::chrono::duration<Rep, Period>& timeout) {
    return lock_until(after(timeout));
  }
  template <class Clock, class Duration>
  [[nodiscard]] bool try_lock_until(const std::chrono::time_point<Clock, Duration>& until) {
    return detail::attempt_until(until, [this](deadline limit) { return lock_until(limit); });
  }

  /// Undoes one lock().
  /// @throws std::system_error  operation_not_permitted: this thread does not hold it.
  void unlock();

  /// After `owner_died`: what the mutex guards is as it should be again.
  void consistent() noexcept;

  /// Who holds it; nothing if nobody does. May be out of date when it returns.
  [[nodiscard]] std::optional<lock_holder> holder() const;
  [[nodiscard]] std::string label() const;

  /// For another process. Afterwards the memory of this mutex is not used for another one.
  [[nodiscard]] native_handle_type native_handle() noexcept;

 private:
  bool lock_until(deadline until);

  std::unique_ptr<sync::owner_lock> lock_;
};

/// Every mutex here is a timed one.
using recursive_timed_mutex = recursive_mutex;

static_assert(detail::timed_lockable<recursive_mutex>);

}  // namespace shoal
