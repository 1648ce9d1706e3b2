#pragma once

#include <chrono>
#include <memory>

#include "shoal/deadline.hpp"
#include "shoal/detail/arena_slot.hpp"
#include "shoal/detail/timeouts.hpp"

namespace shoal {

namespace sync {
class flag;
}

/// A flag that processes set, clear and wait for; clear at first.
///
/// set() wakes everybody who waits at that moment, also those who are slow to look and find the flag cleared again. It
/// is async-signal-safe, and so are clear() and is_set().
///
/// Threads: all members may be called concurrently. fork: the child shares it. Other processes: construct one from
/// native_handle(). Kill-safety: at any instruction; who is killed in set() before it could wake anybody leaves them
/// asleep for a second at most. Moved from, it can only be assigned to or destroyed.
class event {
 public:
  using native_handle_type = slot_location;

  /// @throws std::system_error, std::bad_alloc  no descriptor or memory left.
  event();
  /// @throws shoal::error       there is no event there. @throws std::system_error  the descriptor is not open.
  explicit event(native_handle_type handle);
  event(event&&) noexcept;
  event& operator=(event&&) noexcept;
  ~event();

  [[nodiscard]] bool is_set() const noexcept;
  void set() noexcept;
  void clear() noexcept;

  /// Waits until it is set, or was set since this call began. Interrupted by no signal.
  void wait();
  /// @return false if it was not set until then.
  template <class Rep, class Period>
  [[nodiscard]] bool wait_for(const std::chrono::duration<Rep, Period>& timeout) {
    return wait_until(after(timeout));
  }
  template <class Clock, class Duration>
  [[nodiscard]] bool wait_until(const std::chrono::time_point<Clock, Duration>& until) {
    return detail::attempt_until(until, [this](deadline limit) { return wait_until(limit); });
  }
  [[nodiscard]] bool wait_until(deadline until);

  /// In programs that use Asio: ends at a moment when it is set. Defined in shoal/asio.hpp, which says more.
  template <class CompletionToken>
  auto async_wait(CompletionToken&& token);

  /// A descriptor that polls readable (level-triggered) while it is set, in whatever process and for any number of
  /// pollers. Only to be polled: its contents are the event's. Valid as long as this object.
  ///
  /// The first call of any process is the one from which on it is kept: until then the event has no descriptor, but one
  /// is made when the process forks, or native_handle() is called, since afterwards it would be too late. It may be
  /// readable an instant before the event is set, and, if a process was killed in set() or clear(), for nothing until
  /// somebody calls is_set(), clear() or wait().
  /// @throws std::system_error  no descriptor left, now, or few when the process forked.
  [[nodiscard]] int readiness_handle();

  /// For another process, which gets both descriptors. Afterwards the memory of this event is not used for another one.
  /// @throws std::system_error  no descriptor left.
  [[nodiscard]] native_handle_type native_handle();

 private:
  friend class waitable;

  std::unique_ptr<sync::flag> flag_;
};

}  // namespace shoal
