#pragma once

#include <atomic>
#include <cstdint>

#include "memory/arena.hpp"
#include "shoal/deadline.hpp"
#include "sync/event_count.hpp"
#include "sync/spin.hpp"
#include "sync/thread_record.hpp"

namespace shoal::sync {

/// What a barrier has in shared memory.
struct barrier_state {
  std::atomic<std::uint64_t> word;  // COMMIT: see barrier_word
  event_count changed;
};

/// The whole state of a barrier, so that each change is one compare-and-swap.
struct barrier_word {
  static constexpr std::uint32_t most_parties = 0xffff;
  static constexpr std::uint32_t phases_remembered = 7;

  std::uint32_t phase = 0;    // 24 bits: how many phases have ended
  std::uint32_t arrived = 0;  // 16 bits: in this phase
  std::uint32_t parties = 0;  // 16 bits
  std::uint32_t history = 0;  // 7 bits, the last phase in the lowest: whether it did not end by the arrival of all
  bool broken = false;

  static barrier_word from(std::uint64_t bits) noexcept {
    return {.phase = static_cast<std::uint32_t>(bits & 0xffffff),
            .arrived = static_cast<std::uint32_t>(bits >> 24 & 0xffff),
            .parties = static_cast<std::uint32_t>(bits >> 40 & 0xffff),
            .history = static_cast<std::uint32_t>(bits >> 56 & 0x7f),
            .broken = (bits >> 63) != 0};
  }
  [[nodiscard]] std::uint64_t bits() const noexcept {
    return std::uint64_t{phase} | std::uint64_t{arrived} << 24 | std::uint64_t{parties} << 40 |
           std::uint64_t{history} << 56 | std::uint64_t{broken} << 63;
  }
  /// The same barrier at the start of the next phase.
  [[nodiscard]] barrier_word next_phase(bool failed) const noexcept {
    return {.phase = (phase + 1) & 0xffffff,
            .arrived = 0,
            .parties = parties,
            .history = (history << 1 | (failed ? 1U : 0U)) & 0x7f,
            .broken = false};
  }
};

enum class barrier_result {
  done,
  broken,       ///< it was broken or reset, or a thread died that waited there
  timed_out,    ///< nothing has changed
  interrupted,  ///< a signal handler ran, or a second has passed: call again to go on
};

/// A barrier for a number of threads of any processes: all wait until all have come, phase by phase.
///
/// A thread that dies while it waits breaks the barrier for the others, within a second: nobody waits for those that
/// will not come. A thread that dies elsewhere is not known to be one of them.
///
/// Threads, fork: as arena_slot; all members may be called concurrently. Kill-safety: at any instruction.
class barrier_core {
 public:
  /// `parties`: from 1 to barrier_word::most_parties.
  explicit barrier_core(std::uint32_t parties);
  explicit barrier_core(slot_location location)
      : slot_(memory::arena_slot::attach(location, memory::slot_kind::barrier)) {}

  /// A thread at the barrier, from its arrival until it goes on. Ended before it was told that the phase has ended, it
  /// takes its arrival back.
  class party {
   public:
    /// @throws std::bad_alloc, std::system_error  as wait_line::place.
    explicit party(barrier_core& barrier);
    party(const party&) = delete;
    party& operator=(const party&) = delete;
    ~party();

    /// Arrives. Waits only if as many as are needed have arrived already, until those have gone on.
    barrier_result arrive_until(deadline until) { return arrive(until, false); }
    /// The same for good: from now on there is one party less. If it is_last(), end the phase by complete().
    barrier_result arrive_and_drop_until(deadline until) { return arrive(until, true); }
    /// After `done`: how many had arrived before in this phase.
    [[nodiscard]] std::uint32_t index() const noexcept { return index_; }
    /// Whether all have arrived now. If so, end the phase by complete(), or break the barrier.
    [[nodiscard]] bool is_last() const noexcept { return last_; }
    /// @return `broken` if it was broken or reset meanwhile, or one of those who had arrived has died.
    barrier_result complete() noexcept;
    /// Breaks the barrier, if it has arrived and the phase has not ended. @return `done` if it had, by the arrival of
    /// all; else `broken`.
    barrier_result give_up() noexcept;
    /// Waits until the phase has ended.
    barrier_result wait_until(deadline until);

   private:
    barrier_result arrive(deadline until, bool drops);
    template <class Condition>
    barrier_result wait_for_change(Condition changed, deadline until);
    void enter(std::uint32_t phase) noexcept;
    void leave() noexcept;

    barrier_core& barrier_;
    wait_entry& entry_;
    std::uint64_t made_in_;  // the generation of processes: in a forked child the arrival is its parent's
    deadline next_look_;     // for the dead; signals may interrupt each wait before a second is over
    std::uint32_t phase_ = 0;
    std::uint32_t index_ = 0;
    bool last_ = false;
    bool counted_ = false;
  };

  /// Who waits, and who comes, is told `broken`, until it is reset.
  void abort() noexcept;
  /// Who waits is told `broken`; after that it is as new.
  void reset() noexcept;

  [[nodiscard]] barrier_word look() const noexcept {
    return barrier_word::from(state().word.load(std::memory_order_seq_cst));
  }
  [[nodiscard]] slot_location location() noexcept { return slot_.location(); }
  [[nodiscard]] const memory::arena_slot& slot() const noexcept { return slot_; }

 private:
  [[nodiscard]] barrier_state& state() const noexcept { return slot_.as<barrier_state>(); }
  barrier_result complete(std::uint32_t phase) noexcept;
  bool exchange(barrier_word& seen, const barrier_word& next) noexcept;
  void wake_all() noexcept;

  memory::arena_slot slot_;
  adaptive_spin spin_;
};

}  // namespace shoal::sync
