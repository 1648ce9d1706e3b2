#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "memory/arena.hpp"
#include "shoal/lock_holder.hpp"

// What people and debuggers are told about locks: a look at shared memory from outside, which disturbs nobody. What it
// finds was true at some moment during the call; not all of it need have been true at the same moment.
namespace shoal::sync {

/// A thread that waits.
struct surveyed_waiter {
  std::int32_t process = 0;
  std::int32_t thread = 0;
  std::int64_t since = 0;  // monotonic clock, ns; 0: not known
  std::string stack;       // where in its program, if it has told
};

/// A primitive in some slot.
struct surveyed_lock {
  memory::file_identity arena{};
  std::uint32_t slot = 0;
  memory::slot_kind kind = memory::slot_kind::none;
  std::string label;
  std::optional<lock_holder> holder;
  std::uint32_t depth = 0;           // how often a recursive one is locked
  std::vector<lock_holder> readers;  // who holds a shared_mutex shared; since when is not known
  std::vector<surveyed_waiter> waiters;
  // Free units of a semaphore, whether an event is set, how many have arrived at a barrier, the count of a latch.
  std::optional<std::int64_t> value;
  std::int64_t parties = 0;  // of a barrier
  bool broken = false;       // a barrier; or a lock that was given up after its holder's death
};

/// Tells others where in its program the calling thread waits for what is in `slot`, as text; until hide_stack(), or
/// its end. What is too long is cut off. @throws std::bad_alloc  no memory for that.
void show_stack(const memory::arena_slot& slot, std::string_view stack);
void hide_stack(const memory::arena_slot& slot);
/// How long such a text may be.
[[nodiscard]] std::size_t most_stack_text() noexcept;

/// All primitives in an arena, in the order of their slots.
[[nodiscard]] std::vector<surveyed_lock> survey(const memory::arena& arena);

/// How many living threads wait for the lock in a slot.
[[nodiscard]] std::uint32_t count_waiting(const memory::arena_slot& slot) noexcept;

/// The processes that have a living thread which is known in the arena.
[[nodiscard]] std::vector<std::int32_t> processes_in(const memory::arena& arena);

/// The arenas that another process has, by what it has open. Those it has closed, or cannot be read, are left out.
/// @throws std::system_error  there is no such process, or this one may not look at it.
[[nodiscard]] std::vector<std::shared_ptr<memory::arena>> arenas_of(std::int32_t process);

}  // namespace shoal::sync
