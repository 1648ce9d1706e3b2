#pragma once

#include <pthread.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "memory/arena.hpp"
#include "os/futex.hpp"
#include "shoal/deadline.hpp"

// An arena knows its threads. Every thread that locks or waits for something in an arena has a record there, with a
// robust mutex that it holds as long as it lives. So whether the holder of a lock is alive is one load, and its death
// wakes who sleeps on that (docs/design/sync.md).
namespace shoal::sync {

/// How a thread waits for its turn, where somebody else decides whose turn it is.
///
/// The low bits of `state` are one of the enumerators; the others count how often the entry was used, so that nobody
/// who has looked at an earlier wait changes a later one. Slot and ticket are those of the wait if the state, read
/// before them, is still the same after them: it may be changed by a compare-and-swap alone.
struct wait_entry {
  enum : std::uint32_t {
    idle,
    waiting,   // COMMIT: registered
    asleep,    // the same, and has to be woken
    notified,  // COMMIT: it is this thread's turn
  };
  static constexpr std::uint32_t kind_mask = 3;
  static constexpr std::uint32_t one_use = 4;

  os::futex_word state;
  std::atomic<std::uint32_t> slot;    // of what it waits for
  std::atomic<std::uint64_t> ticket;  // its place in line

  static bool is_idle(std::uint32_t seen) noexcept { return (seen & kind_mask) == idle; }
  static bool is_waiting(std::uint32_t seen) noexcept {
    return (seen & kind_mask) == waiting || (seen & kind_mask) == asleep;
  }
  static bool is_notified(std::uint32_t seen) noexcept { return (seen & kind_mask) == notified; }
  static std::uint32_t with(std::uint32_t seen, std::uint32_t kind) noexcept { return (seen & ~kind_mask) | kind; }
  static std::uint32_t next_use(std::uint32_t seen) noexcept { return with(seen, waiting) + one_use; }
};

/// What an arena knows of a thread. Read by all processes; but where it says otherwise, written by the thread alone.
struct alignas(64) thread_record {
  static constexpr std::size_t most_shared_holds = 16;
  static constexpr std::uint32_t hold_awaited = 1U << 31;  // in a shared hold: a writer sleeps until it is given up
  static constexpr std::size_t most_waits = 4;             // a signal handler may wait for something during a wait

  pthread_mutex_t alive;  // robust; held by the thread for life
  std::atomic<std::uint32_t>
      generation;  // of its thread; changes before anything else when another one takes the record
  std::atomic<std::int32_t> process;
  std::atomic<std::int32_t> thread;
  std::atomic<std::uint32_t> waits_for;      // slot + 1 of the lock it waits for; for people who look
  std::atomic<std::int64_t> waits_since;     // monotonic clock, ns
  std::atomic<std::uint64_t> process_start;  // as /proc/PID/stat has it: process ids are used again
  std::array<std::atomic<std::uint32_t>, most_shared_holds>
      shared_holds;                          // slots + 1 of what it holds shared, and hold_awaited
  std::array<wait_entry, most_waits> waits;  // state may be changed by others: whoever notifies, or cleans up

  /// The futex word of `alive`. The kernel, glibc and the robust-futex ABI agree on its meaning
  /// (Documentation/locking/robust-futex-ABI.rst): the thread id, and a bit that says somebody has to be woken.
  [[nodiscard]] os::futex_word& alive_word() noexcept { return reinterpret_cast<os::futex_word&>(alive); }
};

/// Who has a lock: generation of the thread's record << 32 | (its index + 1) << 8. The low byte is for the lock.
using owner_id = std::uint64_t;

inline constexpr owner_id owner_mask = ~owner_id{0xff};

/// This thread in an arena.
struct self {
  thread_record* record = nullptr;
  owner_id id = 0;
};

/// The record of the calling thread in the arena of `slot`, made at its first call. It is given up when the thread
/// ends, in whatever way, and in a forked child, whose thread is another.
/// @throws std::bad_alloc  no memory, or 16,384 living threads have one already.
[[nodiscard]] self find_self(const memory::arena_slot& slot);

/// What the calling thread has asked for last.
struct cached_self {
  const memory::arena* arena = nullptr;
  self me;
};
// initial-exec: found without a call, also in a library that was loaded late; that takes 24 bytes of what every program
// keeps free for this.
extern constinit thread_local cached_self known_self [[gnu::tls_model("initial-exec")]];

/// The same as find_self, at once if it was asked for last.
[[nodiscard]] inline self self_in(const memory::arena_slot& slot) {
  return known_self.arena == &slot.home() ? known_self.me : find_self(slot);
}

/// The record of the calling thread in the arena of `slot` if it has one, else nothing.
[[nodiscard]] self known_in(const memory::arena_slot& slot) noexcept;

/// An entry in the calling thread's record that is not in use. @throws std::system_error  there is none.
[[nodiscard]] wait_entry& idle_entry(thread_record& record);

/// Who somebody in an arena is.
struct thread_identity {
  std::int32_t process = 0;  // 0: not known any more
  std::int32_t thread = 0;
};

/// The records of one arena. Threads: may be used concurrently. Nothing here can be left locked by a kill.
class thread_table {
 public:
  static constexpr std::uint32_t most_threads = 16384;
  static constexpr std::size_t text_size = 2048;

  explicit thread_table(const memory::arena& arena) noexcept : arena_(arena) {}

  /// How many records have been in use; they come first.
  [[nodiscard]] std::uint32_t used() const noexcept;
  [[nodiscard]] thread_record& at(std::uint32_t index) const noexcept;

  [[nodiscard]] thread_record* record_of(owner_id id) const noexcept;
  /// The id of the thread that has the record now.
  [[nodiscard]] owner_id id_at(std::uint32_t index) const noexcept;
  /// Whether the thread lives.
  [[nodiscard]] bool is_alive(owner_id id) const noexcept;
  [[nodiscard]] static bool is_alive(thread_record& record) noexcept;
  /// Whether the process lives whose thread this is or was. Asks the kernel if the thread has ended.
  [[nodiscard]] bool is_process_alive(owner_id id) const noexcept;
  [[nodiscard]] thread_identity identity(owner_id id) const noexcept;

  /// What a thread wants others to know about where it waits, such as its Python stack; empty if nothing.
  [[nodiscard]] std::string text_of(std::uint32_t index) const;
  void set_text(std::uint32_t index, std::string_view text) const;

  struct header;

 private:
  const memory::arena& arena_;
};

/// Sleeps while `word` is `expected` and the thread `owner` lives; for the event_count's tick at most, and not past
/// `until`. Spurious returns are allowed. @return false if a signal handler ran or the tick has passed.
bool sleep_while_alive(const os::futex_word& word, std::uint32_t expected, const thread_table& threads, owner_id owner,
                       deadline until);

/// Lets others see, for as long as it exists, that this thread waits for the lock in `slot`.
class waiting_mark {
 public:
  waiting_mark(thread_record& record, const memory::arena_slot& slot) noexcept;
  waiting_mark(const waiting_mark&) = delete;
  waiting_mark& operator=(const waiting_mark&) = delete;
  ~waiting_mark();

 private:
  thread_record& record_;
  std::uint64_t made_in_;  // the generation of processes: a forked child leaves its parent's record alone
  std::uint32_t outer_slot_;
  std::int64_t outer_since_;
};

/// Now, to a few milliseconds, for what people read: the exact clock would cost as much as a lock.
[[nodiscard]] std::int64_t coarse_now() noexcept;

}  // namespace shoal::sync
