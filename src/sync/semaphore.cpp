#include "sync/semaphore.hpp"

#include "sync/thread_record.hpp"

namespace shoal::sync {
namespace {

constexpr std::uint32_t asleep = semaphore_state::asleep;
constexpr std::uint32_t one_unit = semaphore_state::one_unit;

/// Takes a unit, if there is one.
bool take(std::atomic<std::uint32_t>& word) noexcept {
  std::uint32_t seen = word.load(std::memory_order_seq_cst);
  while (seen >= one_unit) {
    if (word.compare_exchange_weak(seen, seen - one_unit, std::memory_order_seq_cst)) {
      return true;
    }
  }
  return false;
}

/// The same for one who has slept, and may have been woken in the place of others, who sleep on: they are woken if
/// there are more units, and else the bit is left for them.
bool take_after_sleep(std::atomic<std::uint32_t>& word) noexcept {
  std::uint32_t seen = word.load(std::memory_order_seq_cst);
  while (seen >= one_unit) {
    if (word.compare_exchange_weak(seen, (seen - one_unit) | asleep, std::memory_order_seq_cst)) {
      if (const std::uint32_t left = seen / one_unit - 1; left > 0) {
        os::futex_wake(word, static_cast<int>(left));
      }
      return true;
    }
  }
  return false;
}

}  // namespace

semaphore::semaphore(std::uint32_t units, std::uint32_t most)
    : slot_(memory::arena_slot::allocate(memory::slot_kind::semaphore)) {
  state().most = most;
  state().word.store(units * one_unit, std::memory_order_seq_cst);
}

bool semaphore::try_acquire() noexcept { return take(state().word); }

wait_result semaphore::acquire_until(deadline until) {
  if (try_acquire()) {
    return wait_result::done;
  }
  if (until == no_waiting) {
    return wait_result::timed_out;
  }
  const waiting_mark mark(*self_in(slot_).record, slot_);
  auto& word = state().word;
  const auto is_free = [](std::uint32_t seen) { return seen >= one_unit; };
  bool has_slept = false;
  for (;;) {
    const wait_result result = wait_on(
        word, [&] { return is_free(word.load(std::memory_order_relaxed)); },
        [&] {
          has_slept = true;
          return set_asleep(word, asleep, is_free);
        },
        spin_, until);
    if (has_slept ? take_after_sleep(word) : take(word)) {
      return wait_result::done;
    }
    if (result != wait_result::done) {
      if (has_slept && !set_asleep(word, asleep, is_free)) {
        os::futex_wake(word, 1);
      }
      return result;
    }
  }
}

bool semaphore::release(std::uint32_t units) noexcept {
  if (units == 0) {
    return true;
  }
  auto& word = state().word;
  const std::uint32_t most = state().most;
  std::uint32_t seen = word.load(std::memory_order_seq_cst);
  do {
    if (units > most - seen / one_unit) {
      return false;
    }
  } while (!word.compare_exchange_weak(seen, (seen & ~asleep) + units * one_unit, std::memory_order_seq_cst));
  // Nothing else is touched any more: whoever has the unit by now may have destroyed the semaphore.
  if ((seen & asleep) != 0) {
    os::futex_wake(word, static_cast<int>(units));
  }
  return true;
}

}  // namespace shoal::sync
