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

  /// For another process. Afterwards the memory of this event is not used for another one.
  [[nodiscard]] native_handle_type native_handle() noexcept;

 private:
  std::unique_ptr<sync::flag> flag_;
};

}  // namespace shoal
