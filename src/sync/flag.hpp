#pragma once

#include <atomic>
#include <cstdint>

#include "memory/arena.hpp"
#include "os/shared_event_fd.hpp"
#include "shoal/deadline.hpp"
#include "sync/wait.hpp"

namespace shoal::sync {

/// A flag that processes set, clear and wait for; clear at first.
///
/// set() wakes everybody who waits at that moment, also those who are slow to look and find the flag cleared again.
/// Threads, fork: as arena_slot; all members may be called concurrently. Kill-safety: at any instruction.
///
/// It has a descriptor to poll, once somebody has asked for it: an eventfd that counts (EFD_SEMAPHORE). Invariant: from
/// then on it is readable whenever the flag is set, at every instruction, whoever is stopped or killed. So
/// - set() adds to the count *before* the COMMIT, as much as others may still be about to take away, and one more;
/// - nobody takes away but one at a time, after having announced it in the word, which is possible only while the flag
///   is clear.
/// Who is killed in between leaves the count too high, which is readable for nothing until the next is_set(), clear()
/// or wait(), or an announcement, which costs the others a little.
class flag {
 public:
  flag() : slot_(memory::arena_slot::allocate(memory::slot_kind::event)), descriptor_(EFD_SEMAPHORE) {}
  explicit flag(slot_location location);

  [[nodiscard]] bool is_set() const noexcept {
    const std::uint64_t seen = shared().word.load(std::memory_order_seq_cst);
    return (seen & is_set_bit) != 0 || ((seen & polled_bit) != 0 && settle());
  }
  void set() noexcept;
  void clear() noexcept {
    if ((shared().word.fetch_and(~is_set_bit, std::memory_order_seq_cst) & polled_bit) != 0) {
      lower();
    }
  }

  /// A number that changes with every set() of a clear flag: what a wait that is interrupted goes on with.
  [[nodiscard]] std::uint32_t generation() const noexcept {
    return generation_of(shared().word.load(std::memory_order_seq_cst));
  }

  /// Waits until the flag is set, or was set since `generation` was read.
  wait_result wait_until(std::uint32_t generation, deadline until);

  /// Polls readable while the flag is set. It may do so for an instant before, or for nothing until somebody looks.
  /// @throws std::system_error  no descriptor left, now, or few when the process forked.
  [[nodiscard]] int descriptor();

  /// @throws std::system_error  no descriptor left.
  [[nodiscard]] slot_location location();
  [[nodiscard]] const memory::arena_slot& slot() const noexcept { return slot_; }

 private:
  // The low half is what waiters sleep on: times set << 2 | somebody is asleep << 1 | is set. The high half is about
  // the descriptor: how often somebody announced to take away << 9 | how many of them may still do so << 1 | polled.
  static constexpr std::uint64_t is_set_bit = 1;
  static constexpr std::uint64_t asleep = 2;
  static constexpr std::uint64_t one_time = 4;
  static constexpr std::uint64_t low_half = 0xffff'ffff;
  static constexpr std::uint64_t polled_bit = std::uint64_t{1} << 32;
  static constexpr std::uint64_t one_taker = std::uint64_t{1} << 33;
  static constexpr std::uint64_t one_announcement = std::uint64_t{1} << 41;
  static constexpr std::uint64_t most_takers = one_announcement / one_taker - 1;
  static constexpr std::uint64_t most_announcements = ~std::uint64_t{0} / one_announcement;

  struct state {
    std::atomic<std::uint64_t> word;  // COMMIT
  };

  static std::uint32_t generation_of(std::uint64_t word) noexcept {
    return static_cast<std::uint32_t>((word & low_half) / one_time);
  }
  static std::uint64_t takers(std::uint64_t word) noexcept { return (word / one_taker) & most_takers; }
  static std::uint64_t announcements_between(std::uint64_t before, std::uint64_t after) noexcept {
    return (after / one_announcement - before / one_announcement) & most_announcements;
  }
  static std::uint64_t set_in(std::uint64_t word) noexcept;

  [[nodiscard]] state& shared() const noexcept { return slot_.as<state>(); }
  std::uint64_t set_polled(std::uint64_t seen) noexcept;
  bool settle() const noexcept;
  void lower() const noexcept;

  memory::arena_slot slot_;
  os::shared_event_fd descriptor_;
  adaptive_spin spin_;
};

}  // namespace shoal::sync
