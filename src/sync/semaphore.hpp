#pragma once

#include <atomic>
#include <cstdint>
#include <limits>

#include "memory/arena.hpp"
#include "shoal/deadline.hpp"
#include "sync/spin.hpp"
#include "sync/wait.hpp"

namespace shoal::sync {

/// What a semaphore has in shared memory.
struct semaphore_state {
  static constexpr std::uint32_t asleep = 1;
  static constexpr std::uint32_t one_unit = 2;

  std::atomic<std::uint32_t> word;  // COMMIT: free units << 1 | somebody is asleep
  std::uint32_t most;               // constant
};

/// A counting semaphore that any thread of any process may release, whoever acquired it.
///
/// A holder killed before its release keeps its unit for ever: nobody can know whether it meant to return it.
/// Threads, fork: as arena_slot; all members may be called concurrently. Kill-safety: at any instruction.
class semaphore {
 public:
  static constexpr std::uint32_t most_units = std::numeric_limits<std::int32_t>::max();

  /// `units` are free at first, and never more than `most`.
  semaphore(std::uint32_t units, std::uint32_t most);
  explicit semaphore(slot_location location)
      : slot_(memory::arena_slot::attach(location, memory::slot_kind::semaphore)) {}

  [[nodiscard]] bool try_acquire() noexcept;
  /// Takes a unit, or waits for one.
  [[nodiscard]] wait_result acquire_until(deadline until);

  /// @return false if that would be more than there may be: nothing was done.
  [[nodiscard]] bool release(std::uint32_t units = 1) noexcept;

  [[nodiscard]] std::uint32_t value() const noexcept {
    return state().word.load(std::memory_order_seq_cst) / semaphore_state::one_unit;
  }
  [[nodiscard]] std::uint32_t most() const noexcept { return state().most; }
  [[nodiscard]] slot_location location() noexcept { return slot_.location(); }
  [[nodiscard]] const memory::arena_slot& slot() const noexcept { return slot_; }

 private:
  [[nodiscard]] semaphore_state& state() const noexcept { return slot_.as<semaphore_state>(); }

  memory::arena_slot slot_;
  adaptive_spin spin_;
};

}  // namespace shoal::sync
