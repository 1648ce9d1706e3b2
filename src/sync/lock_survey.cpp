#include "sync/lock_survey.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <exception>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>

#include "os/file_descriptor.hpp"
#include "shoal/error.hpp"
#include "sync/barrier_core.hpp"
#include "sync/owner_lock.hpp"
#include "sync/semaphore.hpp"
#include "sync/thread_record.hpp"

namespace shoal::sync {
namespace {

using memory::slot_kind;

template <class T>
const T& in_slot(const memory::arena& arena, std::uint32_t slot) noexcept {
  return *reinterpret_cast<const T*>(arena.slot(slot));
}

void look_at_owned(const memory::arena& arena, surveyed_lock& found) {
  const auto& state = in_slot<owner_lock_state>(arena, found.slot);
  const std::uint64_t word = state.word.load(std::memory_order_seq_cst);
  found.broken = (word & owner_lock::unrecoverable) != 0;
  found.label.assign(state.label.begin(), std::find(state.label.begin(), state.label.end(), '\0'));
  if ((word & owner_mask) != 0) {
    const thread_table threads(arena);
    const thread_identity who = threads.identity(word & owner_mask);
    found.holder = lock_holder{.process = who.process,
                               .thread = who.thread,
                               .since = state.since.load(std::memory_order_relaxed),
                               .alive = threads.is_alive(word & owner_mask)};
    found.depth = state.depth.load(std::memory_order_relaxed) + 1;
  }
}

surveyed_lock look_at(const memory::arena& arena, std::uint32_t slot, slot_kind kind) {
  surveyed_lock found;
  found.arena = arena.identity();
  found.slot = slot;
  found.kind = kind;
  switch (kind) {
    case slot_kind::mutex:
    case slot_kind::recursive_mutex:
    case slot_kind::shared_mutex:
      look_at_owned(arena, found);
      break;
    case slot_kind::semaphore: {
      const std::uint32_t word = in_slot<semaphore_state>(arena, slot).word.load(std::memory_order_seq_cst);
      found.value = word / semaphore_state::one_unit;
      break;
    }
    case slot_kind::barrier: {
      const std::uint64_t bits = in_slot<barrier_state>(arena, slot).word.load(std::memory_order_seq_cst);
      const barrier_word word = barrier_word::from(bits);
      found.value = word.arrived;
      found.parties = word.parties;
      found.broken = word.broken;
      break;
    }
    case slot_kind::event:  // the lowest bit of a flag's word
      found.value = in_slot<std::atomic<std::uint64_t>>(arena, slot).load(std::memory_order_seq_cst) & 1;
      break;
    case slot_kind::latch:  // all but the lowest bit of a countdown's word
      found.value = static_cast<std::int64_t>(
          in_slot<std::atomic<std::uint64_t>>(arena, slot).load(std::memory_order_seq_cst) >> 1);
      break;
    default:
      break;
  }
  return found;
}

/// Before a stack: whose it is and in which wait. A thread that is killed leaves one behind in its record.
std::string stack_mark(std::uint32_t generation, std::uint32_t slot) {
  return std::to_string(generation) + " " + std::to_string(slot) + "\n";
}

constexpr std::size_t longest_mark = 22;

std::string stack_of(const thread_table& threads, std::uint32_t index, std::uint32_t slot) {
  const std::string mark = stack_mark(threads.at(index).generation.load(std::memory_order_seq_cst), slot);
  const std::string text = threads.text_of(index);
  return text.starts_with(mark) ? text.substr(mark.size()) : std::string();
}

std::uint32_t record_index(const self& me) noexcept { return (static_cast<std::uint32_t>(me.id) >> 8) - 1; }

/// What a thread waits for: the slot of the lock, and those in whose lines it stands.
std::vector<std::uint32_t> awaited_by(const thread_record& record) {
  std::vector<std::uint32_t> slots;
  if (const std::uint32_t slot = record.waits_for.load(std::memory_order_acquire); slot != 0) {
    slots.push_back(slot - 1);
  }
  for (const wait_entry& entry : record.waits) {
    const std::uint32_t slot = entry.slot.load(std::memory_order_acquire);
    if (wait_entry::is_waiting(entry.state.load(std::memory_order_seq_cst)) &&
        std::find(slots.begin(), slots.end(), slot) == slots.end()) {
      slots.push_back(slot);
    }
  }
  return slots;
}

/// A thread's own part in what was found.
void add_thread(const memory::arena& arena, std::uint32_t index, std::vector<surveyed_lock*>& by_slot) {
  const thread_table threads(arena);
  thread_record& record = threads.at(index);
  const std::int32_t process = record.process.load(std::memory_order_relaxed);
  const std::int32_t thread = record.thread.load(std::memory_order_relaxed);
  const auto found_in = [&](std::uint32_t slot) { return slot < by_slot.size() ? by_slot[slot] : nullptr; };
  const std::uint32_t marked = record.waits_for.load(std::memory_order_acquire);
  for (const std::uint32_t slot : awaited_by(record)) {
    if (surveyed_lock* const lock = found_in(slot); lock != nullptr) {
      const std::int64_t since = slot + 1 == marked ? record.waits_since.load(std::memory_order_relaxed) : 0;
      lock->waiters.push_back({process, thread, since, stack_of(threads, index, slot)});
    }
  }
  for (const auto& hold : record.shared_holds) {
    const std::uint32_t slot = hold.load(std::memory_order_seq_cst) & ~thread_record::hold_awaited;
    if (surveyed_lock* const lock = slot == 0 ? nullptr : found_in(slot - 1); lock != nullptr) {
      lock->readers.push_back({.process = process, .thread = thread, .since = 0, .alive = true});
    }
  }
}

bool is_arena(const std::filesystem::path& link) {
  std::error_code failure;
  const std::string target = std::filesystem::read_symlink(link, failure).string();
  return !failure && std::string_view(target).starts_with("/memfd:shoal:arena");
}

}  // namespace

void show_stack(const memory::arena_slot& slot, std::string_view stack) {
  const self me = self_in(slot);
  std::string text = stack_mark(static_cast<std::uint32_t>(me.id >> 32), slot.index());
  text.append(stack.substr(0, most_stack_text()));
  thread_table(slot.home()).set_text(record_index(me), text);
}

void hide_stack(const memory::arena_slot& slot) { thread_table(slot.home()).set_text(record_index(self_in(slot)), ""); }

std::size_t most_stack_text() noexcept { return thread_table::text_size - 1 - longest_mark; }

std::vector<surveyed_lock> survey(const memory::arena& arena) {
  std::vector<surveyed_lock> found;
  for (std::uint32_t slot = 0; slot < arena.slots(); ++slot) {
    const slot_kind kind = arena.kind(slot);
    if (kind != slot_kind::none && kind != slot_kind::block) {
      found.push_back(look_at(arena, slot, kind));
    }
  }
  std::vector<surveyed_lock*> by_slot(arena.slots(), nullptr);
  for (surveyed_lock& lock : found) {
    by_slot[lock.slot] = &lock;
  }
  const thread_table threads(arena);
  const std::uint32_t used = threads.used();
  for (std::uint32_t index = 0; index < used; ++index) {
    if (thread_table::is_alive(threads.at(index))) {
      add_thread(arena, index, by_slot);
    }
  }
  return found;
}

std::uint32_t count_waiting(const memory::arena_slot& slot) noexcept {
  const thread_table threads(slot.home());
  const std::uint32_t used = threads.used();
  std::uint32_t waiting = 0;
  for (std::uint32_t index = 0; index < used; ++index) {
    thread_record& record = threads.at(index);
    if (record.waits_for.load(std::memory_order_acquire) == slot.index() + 1 && thread_table::is_alive(record)) {
      ++waiting;
    }
  }
  return waiting;
}

std::vector<std::int32_t> processes_in(const memory::arena& arena) {
  const thread_table threads(arena);
  const std::uint32_t used = threads.used();
  std::vector<std::int32_t> processes;
  for (std::uint32_t index = 0; index < used; ++index) {
    thread_record& record = threads.at(index);
    if (thread_table::is_alive(record)) {
      processes.push_back(record.process.load(std::memory_order_relaxed));
    }
  }
  std::sort(processes.begin(), processes.end());
  processes.erase(std::unique(processes.begin(), processes.end()), processes.end());
  return processes;
}

std::vector<std::shared_ptr<memory::arena>> arenas_of(std::int32_t process) {
  if (process == ::getpid()) {
    return memory::all_arenas();
  }
  std::vector<std::shared_ptr<memory::arena>> arenas;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/" + std::to_string(process) + "/fd")) {
    if (!is_arena(entry.path())) {
      continue;
    }
    const os::file_descriptor opened(::open(entry.path().c_str(), O_RDWR | O_CLOEXEC));
    if (opened.get() < 0) {
      continue;  // closed meanwhile
    }
    try {
      std::shared_ptr<memory::arena> arena = memory::arena::attach(opened.get());
      const auto is_same = [&](const auto& known) { return known->identity() == arena->identity(); };
      if (arena->threads() != nullptr && std::none_of(arenas.begin(), arenas.end(), is_same)) {
        arenas.push_back(std::move(arena));
      }
    } catch (const error&) {
      continue;  // of another version of this library
    }
  }
  return arenas;
}

}  // namespace shoal::sync
