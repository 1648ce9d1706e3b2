#pragma once

#include <chrono>
#include <cstddef>
#include <memory>

#include "shoal/deadline.hpp"
#include "shoal/detail/arena_slot.hpp"
#include "shoal/detail/timeouts.hpp"

namespace shoal {

namespace sync {
class semaphore;
}

/// A counting semaphore shared by processes, with the interface of `std::counting_semaphore`.
///
/// Any thread of any process may release it, whoever acquired. A holder killed between acquire and release takes its
/// unit with it: nobody can know whether it meant to return it. Where that matters, use `mutex`, whose holder's death
/// is told.
///
/// Threads: all members may be called concurrently. fork: the child shares it. Other processes: construct one from
/// native_handle(). Kill-safety: at any instruction; see docs/design/sync.md. Moved from, it can only be assigned to or
/// destroyed.
class counting_semaphore {
 public:
  using native_handle_type = slot_location;

  /// The most units that one may have: 2^31 - 1.
  [[nodiscard]] static constexpr std::ptrdiff_t max() noexcept { return 0x7fffffff; }

  /// `initial` units are free at first, and never more than `most`.
  /// @throws std::invalid_argument              initial is negative or above `most`, or `most` above max().
  /// @throws std::system_error, std::bad_alloc  no descriptor or memory left.
  explicit counting_semaphore(std::ptrdiff_t initial, std::ptrdiff_t most = max());
  /// @throws shoal::error       there is no semaphore there. @throws std::system_error  the descriptor is not open.
  explicit counting_semaphore(native_handle_type handle);
  counting_semaphore(counting_semaphore&&) noexcept;
  counting_semaphore& operator=(counting_semaphore&&) noexcept;
  ~counting_semaphore();

  /// Takes one unit, sleeping while there is none. Interrupted by no signal.
  /// @throws std::bad_alloc  at a thread's first wait: no memory.
  void acquire();
  /// @return false if there is none.
  [[nodiscard]] bool try_acquire() noexcept;
  /// @return false if none came free until then. @throws  as acquire().
  template <class Rep, class Period>
  [[nodiscard]] bool try_acquire_for(const std::chrono::duration<Rep, Period>& timeout) {
    return acquire_until(after(timeout));
  }
  template <class Clock, class Duration>
  [[nodiscard]] bool try_acquire_until(const std::chrono::time_point<Clock, Duration>& until) {
    return detail::attempt_until(until, [this](deadline limit) { return acquire_until(limit); });
  }

  /// Gives `units` back. @throws std::invalid_argument  negative, or that would be more than there may be.
  void release(std::ptrdiff_t units = 1);

  /// How many units are free. May be out of date when it returns.
  [[nodiscard]] std::ptrdiff_t value() const noexcept;

  /// For another process. Afterwards the memory of this semaphore is not used for another one.
  [[nodiscard]] native_handle_type native_handle() noexcept;

 private:
  bool acquire_until(deadline until);

  std::unique_ptr<sync::semaphore> semaphore_;
};

}  // namespace shoal
