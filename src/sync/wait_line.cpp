#include "sync/wait_line.hpp"

#include <algorithm>
#include <limits>

#include "os/forks.hpp"
#include "sync/burial.hpp"

namespace shoal::sync {
namespace {

constexpr std::uint32_t everybody = std::numeric_limits<std::uint32_t>::max();

wait_line_state& state_of(const memory::arena& arena, std::uint32_t slot) noexcept {
  return *reinterpret_cast<wait_line_state*>(arena.slot(slot));
}

/// A wait of some thread, as somebody has seen it.
struct seen_place {
  wait_entry* entry = nullptr;
  std::uint32_t state = 0;
  std::uint64_t ticket = 0;
  bool lives = false;
};

/// Calls visit(seen_place) for all who are, or were when they died, in line before `slot`.
template <class Visit>
void for_each_place(const memory::arena& arena, std::uint32_t slot, Visit visit) {
  const thread_table threads(arena);
  const std::uint32_t used = threads.used();
  for (std::uint32_t index = 0; index < used; ++index) {
    thread_record& record = threads.at(index);
    for (wait_entry& entry : record.waits) {
      const std::uint32_t state = entry.state.load(std::memory_order_seq_cst);
      if (wait_entry::is_idle(state) || entry.slot.load(std::memory_order_acquire) != slot) {
        continue;
      }
      visit(seen_place{&entry, state, entry.ticket.load(std::memory_order_acquire), thread_table::is_alive(record)});
    }
  }
}

/// @return false if it does not wait any more.
bool notify_one(const seen_place& place) noexcept {
  std::uint32_t seen = place.state;
  while (wait_entry::is_waiting(seen) && (seen & ~wait_entry::kind_mask) == (place.state & ~wait_entry::kind_mask)) {
    if (place.entry->state.compare_exchange_weak(seen, wait_entry::with(seen, wait_entry::notified),
                                                 std::memory_order_seq_cst)) {  // COMMIT
      if ((seen & wait_entry::kind_mask) == wait_entry::asleep) {
        os::futex_wake(place.entry->state, 1);
      }
      return true;
    }
  }
  return false;
}

/// Notifies the first in line who lives, `count` times, of those who came before this call.
std::uint32_t notify_some(const memory::arena& arena, std::uint32_t slot, std::uint32_t count) noexcept {
  const std::uint64_t end = state_of(arena, slot).tickets.load(std::memory_order_seq_cst);
  std::uint32_t notified = 0;
  while (notified < count) {
    seen_place first{.ticket = end};
    for_each_place(arena, slot, [&](const seen_place& place) {
      if (place.ticket < first.ticket && wait_entry::is_waiting(place.state) && place.lives) {
        first = place;
      }
    });
    if (first.entry == nullptr) {
      break;
    }
    notified += notify_one(first) ? 1 : 0;
  }
  return notified;
}

std::uint32_t notify_all(const memory::arena& arena, std::uint32_t slot) noexcept {
  const std::uint64_t end = state_of(arena, slot).tickets.load(std::memory_order_seq_cst);
  std::uint32_t notified = 0;
  for_each_place(arena, slot, [&](const seen_place& place) {
    if (place.ticket < end && place.lives) {
      notified += notify_one(place) ? 1 : 0;
    }
  });
  return notified;
}

/// Clears the entry of a dead thread, after its notification was passed on to somebody who lives.
void clear(const memory::arena& arena, std::uint32_t slot, wait_entry& entry, std::uint32_t seen) noexcept {
  const std::uint32_t use = seen & ~wait_entry::kind_mask;
  while (!wait_entry::is_idle(seen) && (seen & ~wait_entry::kind_mask) == use) {
    if (wait_entry::is_notified(seen)) {
      notify_some(arena, slot, 1);
    }
    if (entry.state.compare_exchange_strong(seen, wait_entry::with(seen, wait_entry::idle),
                                            std::memory_order_seq_cst)) {
      state_of(arena, slot).waiters.fetch_sub(1, std::memory_order_seq_cst);
      return;
    }
  }
}

void clear_dead(const memory::arena& arena, std::uint32_t slot) noexcept {
  for_each_place(arena, slot, [&](const seen_place& place) {
    if (!place.lives) {
      clear(arena, slot, *place.entry, place.state);
    }
  });
}

}  // namespace

void bury_in_line(const memory::arena& arena, wait_entry& entry, std::uint32_t seen) noexcept {
  clear(arena, entry.slot.load(std::memory_order_relaxed), entry, seen);
}

wait_line::place::place(wait_line& line)
    : line_(line),
      entry_(idle_entry(*self_in(line.slot_).record)),
      made_in_(os::generation()),
      next_look_(std::chrono::steady_clock::now() + event_count::tick) {
  auto& shared = line.slot_.as<wait_line_state>();
  shared.waiters.fetch_add(1, std::memory_order_seq_cst);
  entry_.slot.store(line.slot_.index(), std::memory_order_release);
  entry_.ticket.store(shared.tickets.fetch_add(1, std::memory_order_seq_cst), std::memory_order_release);
  const std::uint32_t unused = entry_.state.load(std::memory_order_relaxed);
  entry_.state.store(wait_entry::next_use(unused), std::memory_order_seq_cst);  // COMMIT
}

wait_line::place::~place() {
  if (made_in_ != os::generation()) {
    return;
  }
  std::uint32_t seen = entry_.state.load(std::memory_order_seq_cst);
  for (;;) {
    if (wait_entry::is_notified(seen) && !told_) {
      notify_some(line_.slot_.home(), line_.slot_.index(), 1);
      told_ = true;
    }
    if (entry_.state.compare_exchange_strong(seen, wait_entry::with(seen, wait_entry::idle),
                                             std::memory_order_seq_cst)) {
      break;
    }
  }
  line_.slot_.as<wait_line_state>().waiters.fetch_sub(1, std::memory_order_seq_cst);
}

wait_result wait_line::place::wait_until(deadline until) {
  using std::chrono::steady_clock;
  const auto is_notified = [this] { return wait_entry::is_notified(entry_.state.load(std::memory_order_seq_cst)); };
  if (made_in_ != os::generation()) {
    return wait_result::done;  // a signal handler has forked, and its child has come back here
  }
  const deadline begin = steady_clock::now();
  if (!is_notified() && begin < until && !line_.spin_(is_notified, until)) {
    std::uint32_t seen = entry_.state.load(std::memory_order_seq_cst);
    const std::uint32_t asleep = wait_entry::with(seen, wait_entry::asleep);
    if (!wait_entry::is_notified(seen) &&
        (seen == asleep || entry_.state.compare_exchange_strong(seen, asleep, std::memory_order_seq_cst))) {
      (void)os::futex_wait(entry_.state, asleep, std::min(until, next_look_));
    }
  }
  const deadline end = steady_clock::now();
  line_.spin_.waited(end - begin);
  if (end >= next_look_) {
    next_look_ = end + event_count::tick;
    clear_dead(line_.slot_.home(), line_.slot_.index());
  }
  told_ = is_notified();
  if (told_) {
    return wait_result::done;
  }
  if (end < until) {
    return wait_result::interrupted;
  }
  // Withdrawing is a step of its own: who is notified in this moment was notified in time.
  std::uint32_t seen = entry_.state.load(std::memory_order_seq_cst);
  while (wait_entry::is_waiting(seen)) {
    if (entry_.state.compare_exchange_weak(seen, wait_entry::with(seen, wait_entry::idle), std::memory_order_seq_cst)) {
      return wait_result::timed_out;
    }
  }
  told_ = true;
  return wait_result::done;
}

std::uint32_t wait_line::notify(std::uint32_t count) noexcept {
  if (count == 0 || slot_.as<wait_line_state>().waiters.load(std::memory_order_seq_cst) == 0) {
    return 0;
  }
  const memory::arena& arena = slot_.home();
  clear_dead(arena, slot_.index());
  return count == everybody ? notify_all(arena, slot_.index()) : notify_some(arena, slot_.index(), count);
}

std::uint32_t wait_line::size() const noexcept {
  std::uint32_t waiting = 0;
  for_each_place(slot_.home(), slot_.index(),
                 [&](const seen_place& seen) { waiting += wait_entry::is_waiting(seen.state) && seen.lives ? 1 : 0; });
  return waiting;
}

}  // namespace shoal::sync
