#pragma once

#include <atomic>
#include <cstdint>

#include "os/event_fd.hpp"

namespace shoal::os {

/// An event_fd that parent and children have in common, and that takes no descriptor before it is needed: it is made
/// when it is first asked for, or else when the process forks, since afterwards it would be too late.
///
/// Threads: all members but the destructor may be called concurrently.
class shared_event_fd {
 public:
  /// `flags` for eventfd(2), besides those that it always has.
  explicit shared_event_fd(int flags = 0);
  /// Takes over an open eventfd.
  explicit shared_event_fd(event_fd made);
  /// One that cannot be had: as if the process had forked when it had few descriptors left.
  static shared_event_fd unobtainable() { return shared_event_fd(state{too_late}); }
  shared_event_fd(const shared_event_fd&) = delete;
  shared_event_fd& operator=(const shared_event_fd&) = delete;
  ~shared_event_fd();

  /// @throws std::system_error  no descriptor left, now, or few when the process forked.
  [[nodiscard]] int get();

  /// The same, but -1 where the process forked when it had few descriptors left.
  /// @throws std::system_error  no descriptor left.
  [[nodiscard]] int get_if_possible();

  /// Nothing happens as long as nobody has asked for it.
  void raise(std::uint64_t times = 1) const noexcept;
  /// @return how often it had been raised. With EFD_SEMAPHORE it takes back one time, and returns 1; 0 if there was
  /// none.
  std::uint64_t lower() const noexcept;
  [[nodiscard]] bool is_raised() const noexcept;

 private:
  class registry;
  static const registry& made_early;

  static constexpr int not_made = -1;
  static constexpr int too_late = -2;  // the process forked when few descriptors were left

  struct state {
    int value;
  };
  explicit shared_event_fd(state known) : number_(known.value) {}

  [[nodiscard]] int new_eventfd() const noexcept;
  void make_before_fork() noexcept;

  const int flags_ = 0;
  std::atomic<int> number_{not_made};
};

}  // namespace shoal::os
