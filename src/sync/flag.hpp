#pragma once

#include <atomic>
#include <cstdint>

#include "memory/arena.hpp"
#include "shoal/deadline.hpp"
#include "sync/wait.hpp"

namespace shoal::sync {

/// A flag that processes set, clear and wait for; clear at first.
///
/// set() wakes everybody who waits at that moment, also those who are slow to look and find the flag cleared again.
/// Threads, fork: as arena_slot; all members may be called concurrently. Kill-safety: at any instruction.
class flag {
 public:
  flag() : slot_(memory::arena_slot::allocate(memory::slot_kind::event)) {}
  explicit flag(slot_location location) : slot_(memory::arena_slot::attach(location, memory::slot_kind::event)) {}

  [[nodiscard]] bool is_set() const noexcept {
    return (shared().word.load(std::memory_order_seq_cst) & is_set_bit) != 0;
  }
  void set() noexcept;
  void clear() noexcept { shared().word.fetch_and(~is_set_bit, std::memory_order_seq_cst); }

  /// A number that changes with every set() of a clear flag: what a wait that is interrupted goes on with.
  [[nodiscard]] std::uint32_t generation() const noexcept {
    return shared().word.load(std::memory_order_seq_cst) / one_time;
  }

  /// Waits until the flag is set, or was set since `generation` was read.
  wait_result wait_until(std::uint32_t generation, deadline until);

  [[nodiscard]] slot_location location() noexcept { return slot_.location(); }
  [[nodiscard]] const memory::arena_slot& slot() const noexcept { return slot_; }

 private:
  static constexpr std::uint32_t is_set_bit = 1;
  static constexpr std::uint32_t asleep = 2;
  static constexpr std::uint32_t one_time = 4;

  struct state {
    std::atomic<std::uint32_t> word;  // COMMIT: times set << 2 | somebody is asleep << 1 | is set
  };
  [[nodiscard]] state& shared() const noexcept { return slot_.as<state>(); }

  memory::arena_slot slot_;
  adaptive_spin spin_;
};

}  // namespace shoal::sync
