#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "memory/arena.hpp"
#include "shoal/deadline.hpp"
#include "shoal/lock_holder.hpp"
#include "sync/spin.hpp"
#include "sync/thread_record.hpp"

namespace shoal::sync {

/// How an attempt to lock ended. After `acquired` and `owner_died` the caller holds the lock.
enum class lock_status {
  acquired,
  owner_died,  ///< whoever had it has ended with it: what the lock guards may be half changed
  timed_out,
  interrupted,    ///< a signal handler ran, or a second has passed: lock again to go on
  unrecoverable,  ///< somebody unlocked it after `owner_died` without calling consistent()
};

struct lock_attempt {
  lock_status status = lock_status::acquired;
  lock_holder dead{};  ///< with `owner_died`: who
};

/// Whose end makes a lock free.
enum class ends_with {
  thread,   ///< the thread that locked it, as with a robust pthread_mutex_t
  process,  ///< its process: other threads of it may unlock it later
};

/// What all locks with an owner have in shared memory; in the slot of one that was zeroed.
struct owner_lock_state {
  static constexpr std::size_t label_size = 32;

  std::atomic<std::uint64_t> word;   // COMMIT: owner_id | flags; 0: free
  std::atomic<std::int64_t> since;   // when it was locked, or a little before; for people who look
  std::atomic<std::uint32_t> depth;  // how often a recursive one is locked, less one; the owner's
  std::uint32_t reserved;
  std::array<char, label_size> label;
};

/// A lock in shared memory that knows who holds it, and is free again when that one dies.
///
/// The word is changed by one compare-and-swap to lock it, also where the owner is dead, and by one exchange to unlock
/// it; so there is no state in between to be killed in. Who has to wait spins while that pays, then sleeps on the word
/// and on the holder's life, both at once (futex_waitv(2)).
///
/// Threads, fork: as arena_slot; all members may be called concurrently. A forked child holds nothing of what its
/// parent holds. Kill-safety: at any instruction.
class owner_lock {
 public:
  enum flag : std::uint32_t { contended = 1, inconsistent = 2, unrecoverable = 4 };

  /// @throws std::system_error, std::bad_alloc  no descriptor or memory left.
  explicit owner_lock(memory::slot_kind kind, std::string_view label = {});
  /// @throws shoal::error  there is no such lock at that place.
  owner_lock(memory::slot_kind kind, slot_location location);

  // Those that lock may throw std::bad_alloc: where a thread locks for the first time, there may be no memory to know
  // it.
  [[nodiscard]] lock_attempt try_lock(ends_with end = ends_with::thread) {
    const self me = self_in(slot_);
    std::uint64_t seen = 0;
    if (state().word.compare_exchange_strong(seen, me.id, std::memory_order_seq_cst)) {
      state().since.store(coarse_now(), std::memory_order_relaxed);
      return {};
    }
    return take(me, seen, 0, end);
  }
  [[nodiscard]] lock_attempt lock_until(deadline until, ends_with end = ends_with::thread) {
    const lock_attempt first = try_lock(end);
    return first.status == lock_status::timed_out && until != no_waiting ? lock_contended(until, end) : first;
  }

  /// As lock_until, but does not return `interrupted`.
  [[nodiscard]] lock_attempt lock_uninterrupted(deadline until);

  /// Locks a recursive one once more. @return false if the calling thread does not hold it.
  [[nodiscard]] bool lock_again() noexcept;

  /// Undoes one lock() or lock_again(). @return false if the calling thread does not hold it: nothing was done.
  bool unlock() noexcept;

  /// How often the calling thread has locked it.
  [[nodiscard]] std::uint32_t count() const noexcept;

  /// Unlocks it, whoever holds it. @return false if nobody does.
  bool release() noexcept;

  /// After `owner_died`: what the lock guards is as it should be. Does nothing where the calling thread does not hold
  /// it.
  void consistent() noexcept;

  /// Unlocks it as it was found: if that was `owner_died`, the next one is told the same.
  void give_back() noexcept;

  /// What try_lock() would find, `timed_out` if a living thread holds it; changes nothing.
  [[nodiscard]] lock_attempt look() const noexcept;

  [[nodiscard]] bool is_locked() const noexcept { return (word() & owner_mask) != 0; }
  [[nodiscard]] bool is_mine() const noexcept;
  /// Whether a living thread of this process holds it.
  [[nodiscard]] bool is_held_here() const noexcept;

  /// Who holds it, or has died with it; nothing if it is free. May be out of date at once.
  [[nodiscard]] std::optional<lock_holder> holder() const;
  [[nodiscard]] std::string label() const;
  [[nodiscard]] slot_location location() noexcept { return slot_.location(); }

  // For locks made of this one, and for waiters.
  [[nodiscard]] owner_lock_state& state() noexcept { return slot_.as<owner_lock_state>(); }
  [[nodiscard]] const owner_lock_state& state() const noexcept { return slot_.as<owner_lock_state>(); }
  [[nodiscard]] memory::arena_slot& slot() noexcept { return slot_; }
  [[nodiscard]] const memory::arena_slot& slot() const noexcept { return slot_; }

  /// Waits, as lock_until does, until nobody living holds it; does not lock it. `acquired`: that was so for a moment.
  [[nodiscard]] lock_status wait_until_free(deadline until);

 private:
  [[nodiscard]] std::uint64_t word() const noexcept { return state().word.load(std::memory_order_seq_cst); }
  lock_attempt take(const self& me, std::uint64_t seen, std::uint32_t flags, ends_with end);
  lock_attempt lock_contended(deadline until, ends_with end);
  [[nodiscard]] bool is_alive(std::uint64_t owner, ends_with end) const noexcept;
  [[nodiscard]] lock_holder describe(std::uint64_t owner) const noexcept;
  bool sleep_on(std::uint64_t seen, deadline until, ends_with end) const;
  void pass_on_wake() noexcept;
  bool put(std::uint64_t seen, std::uint64_t next) noexcept;

  memory::arena_slot slot_;
  adaptive_spin spin_;
  int wakes_;  // how many sleepers are woken when it comes free
};

}  // namespace shoal::sync
