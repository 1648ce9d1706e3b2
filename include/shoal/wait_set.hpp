#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "shoal/deadline.hpp"
#include "shoal/detail/timeouts.hpp"
#include "shoal/waitable.hpp"

namespace shoal {

/// Objects that are waited for again and again, thousands of them if need be: what a wait costs, and how soon it ends,
/// does not depend on how many are idle. For a single wait for a few, `wait_any` is simpler.
///
///     shoal::wait_set all;
///     const auto cancelled = all.add(cancel);
///     for (auto& child : children) ends[all.add(child)] = &child;
///     for (shoal::wait_set::id which : all.wait()) ...
///
/// Level-triggered: an object that stays ready is reported by every wait. None hides another: a wait reports all that
/// are ready, those first that became so first.
///
/// Takes one descriptor (an epoll instance), and no thread. An object must be removed before it is destroyed, joined or
/// closed; one that was not may be forgotten at that moment by itself, or reported until it is removed.
///
/// Threads: all members but the destructor and moves may be called concurrently; what a thread adds is seen by another
/// that waits already. fork: a child cannot use the set, which would change the parent's: all members throw
/// std::logic_error there; it may destroy it, or assign a new one. exec: not inherited.
class wait_set {
 public:
  /// Stands for an object that was added. No two objects of a set have the same, ever.
  using id = std::uint64_t;

  /// @throws std::system_error  no descriptor left.
  wait_set();
  wait_set(wait_set&&) noexcept;
  wait_set& operator=(wait_set&&) noexcept;
  wait_set(const wait_set&) = delete;
  wait_set& operator=(const wait_set&) = delete;
  ~wait_set();

  /// @throws std::invalid_argument  the object, or another with the same descriptor, is in the set.
  /// @throws std::system_error  EBADF: its descriptor is not open; EPERM: it is one that is always ready, such as that
  ///     of a regular file; ENOSPC: too many (see /proc/sys/fs/epoll/max_user_watches); ENOMEM.
  id add(const waitable& object);

  /// @return false if it is not in the set.
  bool remove(id which);

  [[nodiscard]] std::size_t size() const;

  /// Waits until at least one object is ready; for ever if there is none. Interrupted by no signal.
  [[nodiscard]] std::vector<id> wait() { return wait_before(deadline::max()); }
  /// @return nothing if none was ready until then.
  template <class Clock, class Duration>
  [[nodiscard]] std::vector<id> wait_until(const std::chrono::time_point<Clock, Duration>& until) {
    std::vector<id> ready;
    (void)detail::attempt_until(until, [&](deadline limit) {
      ready = wait_before(limit);
      return !ready.empty();
    });
    return ready;
  }
  template <class Rep, class Period>
  [[nodiscard]] std::vector<id> wait_for(const std::chrono::duration<Rep, Period>& timeout) {
    return wait_before(after(timeout));
  }

 private:
  class state;

  std::vector<id> wait_before(deadline until);

  std::unique_ptr<state> state_;
};

}  // namespace shoal
