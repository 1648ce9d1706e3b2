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
  shared_event_fd();
  /// Takes over an open eventfd.
  explicit shared_event_fd(event_fd made);
  shared_event_fd(const shared_event_fd&) = delete;
  shared_event_fd& operator=(const shared_event_fd&) = delete;
  ~shared_event_fd();

  /// @throws std::system_error  no descriptor left, now, or few when the process forked.
  [[nodiscard]] int get();

  /// Nothing happens as long as nobody has asked for it.
  void raise() const noexcept;
  /// @return how often it had been raised.
  std::uint64_t lower() const noexcept;
  [[nodiscard]] bool is_raised() const noexcept;

 private:
  class registry;
  static const registry& made_early;

  static constexpr int not_made = -1;
  static constexpr int too_late = -2;  // the process forked when few descriptors were left

  void make();
  void make_before_fork() noexcept;

  std::atomic<int> number_{not_made};
};

}  // namespace shoal::os
