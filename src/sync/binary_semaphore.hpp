#pragma once

#include <atomic>
#include <cstdint>

#include "memory/arena.hpp"
#include "shoal/deadline.hpp"
#include "sync/event_count.hpp"
#include "sync/wait.hpp"

namespace shoal::sync {

/// A semaphore of one unit, free at first: a lock that any thread of any process may release, whoever acquired it.
///
/// A holder killed before its release keeps the unit for ever: nobody can know whether it meant to return it.
/// Threads, fork: as arena_slot; all members may be called concurrently. Kill-safety: at any instruction.
class binary_semaphore {
 public:
  binary_semaphore() : slot_(memory::arena_slot::allocate(memory::slot_kind::binary_semaphore)) {}
  explicit binary_semaphore(memory::slot_location location)
      : slot_(memory::arena_slot::attach(location, memory::slot_kind::binary_semaphore)) {}

  [[nodiscard]] bool try_acquire() noexcept;
  wait_result acquire_until(deadline until);

  /// @return false if it was free already, in which case nothing was done.
  bool release() noexcept;

  [[nodiscard]] bool is_free() const noexcept;
  [[nodiscard]] memory::slot_location location() noexcept { return slot_.location(); }

 private:
  struct state {
    std::atomic<std::uint32_t> taken;  // COMMIT: changing it is acquiring, or releasing
    event_count released;
  };
  [[nodiscard]] state& shared() const noexcept { return slot_.as<state>(); }

  memory::arena_slot slot_;
  adaptive_spin spin_;
};

}  // namespace shoal::sync
