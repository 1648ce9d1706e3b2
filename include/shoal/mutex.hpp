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

/// A mutex shared by processes, with the interface of `std::timed_mutex`, that survives the death of its holder.
///
/// When the thread that holds it ends, in whatever way, the next one gets it and is told: lock(), try_lock() and the
/// timed forms throw `owner_died`, with the mutex held (see there). A scoped lock whose constructor throws has not
/// locked anything as far as it knows, so where a death is to be survived:
///
///     try { m.lock(); } catch (const shoal::owner_died&) { repair(); m.consistent(); }
///     std::unique_lock lock(m, std::adopt_lock);
///
/// std::scoped_lock and std::lock of two mutexes leave the dead one's locked and the other not, and do not say which:
/// lock them one by one where a death is to be survived.
///
/// Not recursive: locking it twice in a thread is refused with `std::errc::resource_deadlock_would_occur`.
///
/// Threads: all members may be called concurrently. fork: the child shares the mutex and holds nothing that its parent
/// holds. Other processes: construct one from native_handle(). It takes no descriptor of its own, and 64 bytes.
/// Kill-safety: at any instruction. Fairness: none is promised; see docs/design/sync.md.
/// Meets: Cpp17TimedLockableRequirements. Moved from, it can only be assigned to or destroyed.
class mutex {
 public:
  using native_handle_type = slot_location;

  /// @param label  shown where locks are listed; cut off after 31 bytes.
  /// @throws std::system_error, std::bad_alloc  no descriptor or memory left.
  explicit mutex(std::string_view label = {});

  /// The mutex that another process has sent the handle of; `arena` is a descriptor for the same file here.
  /// @throws shoal::error       there is no mutex there. @throws std::system_error  the descriptor is not open.
  explicit mutex(native_handle_type handle);

  mutex(mutex&&) noexcept;
  mutex& operator=(mutex&&) noexcept;
  ~mutex();

  /// Waits until nobody holds it. Interrupted by no signal.
  /// @throws owner_died         and it is held. @throws std::bad_alloc  at a thread's first lock: no memory.
  /// @throws std::system_error  resource_deadlock_would_occur: this thread holds it. state_not_recoverable: see
  ///                            owner_died.
  void lock();

  /// @return false if somebody holds it, be it this thread. @throws  as lock().
  [[nodiscard]] bool try_lock();

  /// @return false if somebody held it, be it this thread, until then. @throws  as lock().
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
using timed_mutex = mutex;

static_assert(detail::timed_lockable<mutex>);

}  // namespace shoal
