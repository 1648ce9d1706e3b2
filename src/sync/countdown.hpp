#pragma once

#include <atomic>
#include <cstdint>

#include "memory/arena.hpp"
#include "shoal/deadline.hpp"
#include "sync/spin.hpp"
#include "sync/wait.hpp"

namespace shoal::sync {

/// A counter that goes down to zero, and that threads of any processes wait for; what a latch is.
/// Threads, fork: as arena_slot; all members may be called concurrently. Kill-safety: at any instruction.
class countdown {
 public:
  /// `count`: below 2^63.
  explicit countdown(std::uint64_t count) : slot_(memory::arena_slot::allocate(memory::slot_kind::latch)) {
    state().word.store(count * one, std::memory_order_seq_cst);
  }
  explicit countdown(slot_location location) : slot_(memory::arena_slot::attach(location, memory::slot_kind::latch)) {}

  /// @return false if the counter is lower than that: nothing was done.
  [[nodiscard]] bool count_down(std::uint64_t by) noexcept;
  [[nodiscard]] bool is_zero() const noexcept { return state().word.load(std::memory_order_seq_cst) < one; }
  wait_result wait_until(deadline until);
  [[nodiscard]] slot_location location() noexcept { return slot_.location(); }
  [[nodiscard]] const memory::arena_slot& slot() const noexcept { return slot_; }

 private:
  static constexpr std::uint64_t asleep = 1;
  static constexpr std::uint64_t one = 2;

  struct shared {
    std::atomic<std::uint64_t> word;  // COMMIT: count << 1 | somebody is asleep
  };
  [[nodiscard]] shared& state() const noexcept { return slot_.as<shared>(); }

  memory::arena_slot slot_;
  adaptive_spin spin_;
};

}  // namespace shoal::sync
