#include "sync/owner_lock.hpp"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <new>

namespace shoal::sync {
namespace {

using std::chrono::steady_clock;

// How often somebody looks whether a process still lives whose locking thread has ended: nothing else tells them.
constexpr std::chrono::milliseconds process_check{50};

}  // namespace

owner_lock::owner_lock(memory::slot_kind kind, std::string_view label)
    : slot_(memory::arena_slot::allocate(kind)),
      wakes_(kind == memory::slot_kind::shared_mutex ? std::numeric_limits<int>::max() : 1) {
  std::copy_n(label.begin(), std::min(label.size(), owner_lock_state::label_size - 1), state().label.begin());
}

owner_lock::owner_lock(memory::slot_kind kind, slot_location location)
    : slot_(memory::arena_slot::attach(location, kind)),
      wakes_(kind == memory::slot_kind::shared_mutex ? std::numeric_limits<int>::max() : 1) {}

bool owner_lock::is_alive(std::uint64_t owner, ends_with end) const noexcept {
  const thread_table threads(slot_.home());
  return end == ends_with::thread ? threads.is_alive(owner & owner_mask) : threads.is_process_alive(owner & owner_mask);
}

lock_holder owner_lock::describe(std::uint64_t owner) const noexcept {
  const thread_table threads(slot_.home());
  const thread_identity who = threads.identity(owner & owner_mask);
  return {.process = who.process,
          .thread = who.thread,
          .since = state().since.load(std::memory_order_relaxed),
          .alive = threads.is_alive(owner & owner_mask)};
}

/// Locks it if nobody living has it.
lock_attempt owner_lock::take(const self& me, std::uint64_t seen, std::uint32_t flags, ends_with end) {
  auto& word = state().word;
  for (;;) {
    const std::uint64_t owner = seen & owner_mask;
    if ((seen & unrecoverable) != 0) {
      return {lock_status::unrecoverable};
    }
    if (owner == 0) {
      const std::uint64_t left_over = seen & inconsistent;
      if (word.compare_exchange_weak(seen, me.id | flags | left_over, std::memory_order_seq_cst)) {
        state().since.store(coarse_now(), std::memory_order_relaxed);
        return {left_over != 0 ? lock_status::owner_died : lock_status::acquired};
      }
    } else if (owner == me.id || is_alive(owner, end)) {
      return {lock_status::timed_out};
    } else {
      // Before the exchange: once nothing refers to the dead one any more, its record may be given to somebody else.
      const lock_holder dead = describe(owner);
      if (word.compare_exchange_strong(seen, me.id | inconsistent | contended, std::memory_order_seq_cst)) {
        state().depth.store(0, std::memory_order_relaxed);
        state().since.store(coarse_now(), std::memory_order_relaxed);
        return {lock_status::owner_died, dead};
      }
    }
  }
}

lock_attempt owner_lock::lock_contended(deadline until, ends_with end) {
  const self me = self_in(slot_);
  const waiting_mark mark(*me.record, slot_);
  std::uint32_t flags = 0;
  bool undisturbed = true;
  for (;;) {
    const lock_attempt attempt = take(me, word(), flags, end);
    if (attempt.status != lock_status::timed_out) {
      return attempt;
    }
    const deadline begin = steady_clock::now();
    if (begin >= until || !undisturbed) {
      if (flags != 0) {
        pass_on_wake();
      }
      return {begin >= until ? lock_status::timed_out : lock_status::interrupted};
    }
    const auto comes_free = [this] { return (state().word.load(std::memory_order_relaxed) & owner_mask) == 0; };
    if (!spin_(comes_free, until)) {
      std::uint64_t seen = word();
      if ((seen & owner_mask) == 0 || !is_alive(seen, end)) {
        continue;
      }
      if ((seen & contended) == 0 &&
          !state().word.compare_exchange_strong(seen, seen | contended, std::memory_order_seq_cst)) {
        continue;
      }
      // From now on others may sleep whom nobody but us, when we unlock, will wake.
      flags = contended;
      undisturbed = sleep_on(seen | contended, until, end);
    }
    spin_.waited(steady_clock::now() - begin);
  }
}

lock_attempt owner_lock::lock_uninterrupted(deadline until) {
  lock_attempt attempt = try_lock();
  if (attempt.status != lock_status::timed_out || until == no_waiting) {
    return attempt;
  }
  const waiting_mark since_now(*self_in(slot_).record, slot_);
  do {
    attempt = lock_contended(until, ends_with::thread);
  } while (attempt.status == lock_status::interrupted);
  return attempt;
}

/// For one who has slept and gives up: if it was woken meanwhile, somebody else has to be.
void owner_lock::pass_on_wake() noexcept {
  std::uint64_t seen = word();
  while ((seen & owner_mask) != 0 && (seen & contended) == 0) {
    if (state().word.compare_exchange_weak(seen, seen | contended, std::memory_order_seq_cst)) {
      return;
    }
  }
  if ((seen & owner_mask) == 0) {
    os::futex_wake(os::low_half(state().word), 1);
  }
}

lock_status owner_lock::wait_until_free(deadline until) {
  const self me = self_in(slot_);
  const waiting_mark mark(*me.record, slot_);
  bool undisturbed = true;
  for (;;) {
    std::uint64_t seen = word();
    if ((seen & owner_mask) == 0 || !is_alive(seen, ends_with::thread)) {
      return lock_status::acquired;
    }
    const deadline begin = steady_clock::now();
    if (begin >= until) {
      return lock_status::timed_out;
    }
    if (!undisturbed) {
      return lock_status::interrupted;
    }
    const auto comes_free = [this] { return (state().word.load(std::memory_order_relaxed) & owner_mask) == 0; };
    if (!spin_(comes_free, until)) {
      seen = word();
      if ((seen & owner_mask) == 0 ||
          ((seen & contended) == 0 &&
           !state().word.compare_exchange_strong(seen, seen | contended, std::memory_order_seq_cst))) {
        continue;
      }
      undisturbed = sleep_on(seen | contended, until, ends_with::thread);
    }
    spin_.waited(steady_clock::now() - begin);
  }
}

/// @return false if a signal handler ran or a second has passed.
bool owner_lock::sleep_on(std::uint64_t seen, deadline until, ends_with end) const {
  const thread_table threads(slot_.home());
  const os::futex_word& word = os::low_half(state().word);
  const auto expected = static_cast<std::uint32_t>(seen);
  if (threads.is_alive(seen & owner_mask)) {
    return sleep_while_alive(word, expected, threads, seen & owner_mask, until);
  }
  if (end == ends_with::thread) {
    return true;
  }
  const deadline next_check = steady_clock::now() + process_check;
  return os::futex_wait(word, expected, std::min(until, next_check)) != os::futex_result::interrupted;
}

bool owner_lock::lock_again() noexcept {
  if (!is_mine()) {
    return false;
  }
  state().depth.fetch_add(1, std::memory_order_relaxed);
  return true;
}

bool owner_lock::unlock() noexcept {
  const std::uint64_t seen = word();
  if ((seen & owner_mask) == 0 || (seen & owner_mask) != known_in(slot_).id) {
    return false;
  }
  auto& depth = state().depth;
  if (const std::uint32_t locked_again = depth.load(std::memory_order_relaxed); locked_again != 0) {
    depth.store(locked_again - 1, std::memory_order_relaxed);
    return true;
  }
  return put(seen, (seen & inconsistent) != 0 ? std::uint64_t{unrecoverable} : 0);
}

bool owner_lock::release() noexcept {
  const std::uint64_t seen = word();
  return (seen & owner_mask) != 0 && put(seen, 0);
}

void owner_lock::give_back() noexcept {
  const std::uint64_t seen = word();
  put(seen, seen & inconsistent);
}

/// Unlocks it for the owner in `seen`. @return false if that was not the owner any more.
bool owner_lock::put(std::uint64_t seen, std::uint64_t next) noexcept {
  const std::uint64_t owner = seen & owner_mask;
  const int wakes = next == unrecoverable ? std::numeric_limits<int>::max() : wakes_;
  auto& word = state().word;
  while (!word.compare_exchange_weak(seen, next, std::memory_order_seq_cst)) {  // COMMIT
    if ((seen & owner_mask) != owner) {
      return false;
    }
  }
  // Neither the slot nor this object is touched any more: whoever has the lock by now may have destroyed them.
  if ((seen & contended) != 0) {
    os::futex_wake(os::low_half(word), wakes);
  }
  return true;
}

lock_attempt owner_lock::look() const noexcept {
  const std::uint64_t seen = word();
  if ((seen & unrecoverable) != 0) {
    return {lock_status::unrecoverable};
  }
  if ((seen & owner_mask) == 0) {
    return {(seen & inconsistent) != 0 ? lock_status::owner_died : lock_status::acquired};
  }
  if (is_alive(seen, ends_with::thread)) {
    return {lock_status::timed_out};
  }
  return {lock_status::owner_died, describe(seen)};
}

void owner_lock::consistent() noexcept {
  if ((word() & inconsistent) != 0 && is_mine()) {
    state().word.fetch_and(~std::uint64_t{inconsistent}, std::memory_order_seq_cst);
  }
}

bool owner_lock::is_mine() const noexcept {
  const std::uint64_t owner = word() & owner_mask;
  return owner != 0 && owner == known_in(slot_).id;
}

std::uint32_t owner_lock::count() const noexcept {
  return is_mine() ? state().depth.load(std::memory_order_relaxed) + 1 : 0;
}

bool owner_lock::is_held_here() const noexcept {
  const std::optional<lock_holder> found = holder();
  return found && found->alive && found->process == ::getpid();
}

std::optional<lock_holder> owner_lock::holder() const {
  const std::uint64_t owner = word() & owner_mask;
  return owner == 0 ? std::nullopt : std::optional(describe(owner));
}

std::string owner_lock::label() const {
  const auto& label = state().label;
  return {label.begin(), std::find(label.begin(), label.end(), '\0')};
}

}  // namespace shoal::sync
