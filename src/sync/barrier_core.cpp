#include "sync/barrier_core.hpp"

#include <limits>

#include "os/forks.hpp"
#include "sync/burial.hpp"
#include "sync/wait.hpp"

namespace shoal::sync {
namespace {

constexpr int everybody = std::numeric_limits<int>::max();

barrier_state& state_of(const memory::arena& arena, std::uint32_t slot) noexcept {
  return *reinterpret_cast<barrier_state*>(arena.slot(slot));
}

/// Breaks the barrier if it is still in that phase.
void break_in(barrier_state& barrier, std::uint32_t phase) noexcept {
  std::uint64_t seen = barrier.word.load(std::memory_order_seq_cst);
  for (;;) {
    barrier_word next = barrier_word::from(seen);
    if (next.phase != phase || next.broken) {
      return;
    }
    next.broken = true;
    if (barrier.word.compare_exchange_weak(seen, next.bits(), std::memory_order_seq_cst)) {  // COMMIT
      barrier.changed.notify(everybody);
      return;
    }
  }
}

/// Breaks the barrier if a thread has died at it.
void break_if_somebody_died(const memory::arena& arena, std::uint32_t slot) noexcept {
  const thread_table threads(arena);
  const std::uint32_t used = threads.used();
  for (std::uint32_t index = 0; index < used; ++index) {
    thread_record& record = threads.at(index);
    for (wait_entry& entry : record.waits) {
      const std::uint32_t seen = entry.state.load(std::memory_order_seq_cst);
      if (!wait_entry::is_idle(seen) && entry.slot.load(std::memory_order_acquire) == slot &&
          !thread_table::is_alive(record)) {
        bury_at_barrier(arena, entry, seen);
      }
    }
  }
}

/// Of a phase that has ended: whether all had arrived. `now` is what the barrier has come to.
barrier_result result_of(std::uint32_t phase, const barrier_word& now) noexcept {
  const std::uint32_t phases_since = (now.phase - phase - 1) & 0xffffff;
  // Nothing but resets can have ended more phases than are remembered while somebody slept in one.
  return phases_since >= barrier_word::phases_remembered || (now.history >> phases_since & 1) != 0
             ? barrier_result::broken
             : barrier_result::done;
}

}  // namespace

void bury_at_barrier(const memory::arena& arena, wait_entry& entry, std::uint32_t seen) noexcept {
  const auto phase = static_cast<std::uint32_t>(entry.ticket.load(std::memory_order_acquire));
  const std::uint32_t slot = entry.slot.load(std::memory_order_acquire);
  if (entry.state.load(std::memory_order_seq_cst) != seen) {
    return;  // somebody else was quicker, and there may be a new thread in the record
  }
  break_in(state_of(arena, slot), phase);
  entry.state.compare_exchange_strong(seen, wait_entry::with(seen, wait_entry::idle), std::memory_order_seq_cst);
}

barrier_core::barrier_core(std::uint32_t parties) : slot_(memory::arena_slot::allocate(memory::slot_kind::barrier)) {
  state().word.store(barrier_word{.parties = parties}.bits(), std::memory_order_seq_cst);
}

bool barrier_core::exchange(barrier_word& seen, const barrier_word& next) noexcept {
  std::uint64_t bits = seen.bits();
  const bool exchanged = state().word.compare_exchange_strong(bits, next.bits(), std::memory_order_seq_cst);  // COMMIT
  if (!exchanged) {
    seen = barrier_word::from(bits);
  }
  return exchanged;
}

void barrier_core::wake_all() noexcept { state().changed.notify(everybody); }

barrier_core::party::party(barrier_core& barrier)
    : barrier_(barrier),
      entry_(idle_entry(*self_in(barrier.slot_).record)),
      made_in_(os::generation()),
      next_look_(std::chrono::steady_clock::now() + event_count::tick) {}

template <class Condition>
barrier_result barrier_core::party::wait_for_change(Condition changed, deadline until) {
  while (!changed()) {
    const wait_result result = wait_for(changed, barrier_.state().changed, barrier_.spin_, until);
    if (const deadline now = std::chrono::steady_clock::now(); now >= next_look_) {
      next_look_ = now + event_count::tick;
      break_if_somebody_died(barrier_.slot_.home(), barrier_.slot_.index());
    }
    if (result != wait_result::done && !changed()) {
      return result == wait_result::timed_out ? barrier_result::timed_out : barrier_result::interrupted;
    }
  }
  return barrier_result::done;
}

void barrier_core::party::enter(std::uint32_t phase) noexcept {
  entry_.slot.store(barrier_.slot_.index(), std::memory_order_release);
  entry_.ticket.store(phase, std::memory_order_release);
  const std::uint32_t unused = entry_.state.load(std::memory_order_relaxed);
  entry_.state.store(wait_entry::next_use(unused), std::memory_order_seq_cst);
}

void barrier_core::party::leave() noexcept {
  const std::uint32_t seen = entry_.state.load(std::memory_order_relaxed);
  entry_.state.store(wait_entry::with(seen, wait_entry::idle), std::memory_order_seq_cst);
}

barrier_result barrier_core::party::arrive(deadline until, bool drops) {
  for (;;) {
    barrier_word seen = barrier_.look();
    if (seen.broken) {
      return barrier_result::broken;
    }
    if (seen.arrived >= seen.parties) {
      // They are about to go on. Whoever comes now belongs to the next phase.
      const auto has_ended = [&] {
        const barrier_word now = barrier_.look();
        return now.phase != seen.phase || now.broken || now.arrived < now.parties;
      };
      if (const barrier_result result = wait_for_change(has_ended, until); result != barrier_result::done) {
        return result;
      }
      continue;
    }
    // Before it is counted: one that died in between would be missed by nobody, and the others wait for ever.
    enter(seen.phase);
    barrier_word next = seen;
    if (drops) {
      --next.parties;
    } else {
      ++next.arrived;
    }
    if (!barrier_.exchange(seen, next)) {
      leave();
      continue;
    }
    phase_ = seen.phase;
    index_ = seen.arrived;
    last_ = next.arrived == next.parties;
    counted_ = !drops;
    if (drops && !last_) {
      leave();
    }
    return barrier_result::done;
  }
}

barrier_result barrier_core::party::complete() noexcept {
  if (made_in_ != os::generation()) {
    return barrier_result::broken;  // the completion has forked, and this is the child
  }
  // One that has arrived and died is not with us.
  break_if_somebody_died(barrier_.slot_.home(), barrier_.slot_.index());
  const barrier_result result = barrier_.complete(phase_);
  counted_ = false;
  last_ = false;
  leave();
  return result;
}

barrier_result barrier_core::party::give_up() noexcept {
  if ((!counted_ && !last_) || made_in_ != os::generation()) {
    return barrier_result::broken;
  }
  last_ = false;
  break_in(barrier_.state(), phase_);
  const barrier_word now = barrier_.look();
  return now.phase == phase_ ? barrier_result::broken : result_of(phase_, now);
}

barrier_result barrier_core::party::wait_until(deadline until) {
  if (made_in_ != os::generation()) {
    return barrier_result::broken;  // a signal handler has forked, and its child has come back here
  }
  const auto has_ended = [&] {
    const barrier_word now = barrier_.look();
    return now.phase != phase_ || now.broken;
  };
  if (const barrier_result result = wait_for_change(has_ended, until); result != barrier_result::done) {
    return result;
  }
  const barrier_word now = barrier_.look();
  const barrier_result result = now.phase == phase_ ? barrier_result::broken : result_of(phase_, now);
  if (now.phase != phase_) {
    counted_ = false;
  }
  leave();
  return result;
}

barrier_core::party::~party() {
  if (made_in_ != os::generation()) {
    return;
  }
  if (last_) {
    break_in(barrier_.state(), phase_);
  } else if (counted_) {
    barrier_word seen = barrier_.look();
    for (;;) {
      barrier_word next = seen;
      --next.arrived;
      // Once all have arrived that is so, and the last one is about to end the phase.
      if (seen.phase != phase_ || seen.arrived == 0 || seen.arrived >= seen.parties || barrier_.exchange(seen, next)) {
        break;
      }
    }
  }
  leave();
}

barrier_result barrier_core::complete(std::uint32_t phase) noexcept {
  barrier_word seen = look();
  do {
    if (seen.phase != phase) {
      return result_of(phase, seen);
    }
    if (seen.broken) {
      return barrier_result::broken;
    }
  } while (!exchange(seen, seen.next_phase(false)));
  wake_all();
  return barrier_result::done;
}

void barrier_core::abort() noexcept {
  barrier_word seen = look();
  barrier_word next = seen;
  do {
    next = seen;
    next.broken = true;
  } while (!exchange(seen, next));
  wake_all();
}

void barrier_core::reset() noexcept {
  barrier_word seen = look();
  do {
    if (seen.arrived == 0 && !seen.broken) {
      return;
    }
  } while (!exchange(seen, seen.next_phase(true)));
  wake_all();
}

}  // namespace shoal::sync
