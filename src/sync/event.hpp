#pragma once

#include <atomic>
#include <cstdint>

#include "memory/arena.hpp"
#include "shoal/deadline.hpp"
#include "sync/event_count.hpp"
#include "sync/wait.hpp"

namespace shoal::sync {

/// A flag that processes set, clear and wait for; clear at first.
///
/// set() wakes everybody who waits at that moment, also those who are slow to look and find the flag cleared again.
/// Threads, fork: as arena_slot; all members may be called concurrently. Kill-safety: at any instruction.
class event {
 public:
  event() : slot_(memory::arena_slot::allocate(memory::slot_kind::event)) {}
  explicit event(memory::slot_location location)
      : slot_(memory::arena_slot::attach(location, memory::slot_kind::event)) {}

  [[nodiscard]] bool is_set() const noexcept { return (shared().word.load(std::memory_order_seq_cst) & 1) != 0; }
  void set() noexcept;
  void clear() noexcept { shared().word.fetch_and(~std::uint32_t{1}, std::memory_order_seq_cst); }

  /// A number that changes with every set() of a clear flag: what a wait that is interrupted goes on with.
  [[nodiscard]] std::uint32_t generation() const noexcept { return shared().word.load(std::memory_order_seq_cst) >> 1; }

  /// Waits until the flag is set, or was set since `generation` was read.
  wait_result wait_until(std::uint32_t generation, deadline until);

  [[nodiscard]] memory::slot_location location() noexcept { return slot_.location(); }

 private:
  struct state {
    std::atomic<std::uint32_t> word;  // COMMIT: times set << 1 | is set
    event_count was_set;
  };
  [[nodiscard]] state& shared() const noexcept { return slot_.as<state>(); }

  memory::arena_slot slot_;
  adaptive_spin spin_;
};

}  // namespace shoal::sync
