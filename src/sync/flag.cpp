#include "sync/flag.hpp"

#include <sched.h>

#include <algorithm>
#include <limits>

namespace shoal::sync {

flag::flag(slot_location location)
    : slot_(memory::arena_slot::attach(location, memory::slot_kind::event)),
      descriptor_(location.readiness < 0
                      ? os::shared_event_fd::unobtainable()
                      : os::shared_event_fd(os::event_fd(os::file_descriptor::duplicate(location.readiness)))) {}

/// The word after set() of a flag in this state. Of one that is set already nothing changes but that nobody sleeps.
std::uint64_t flag::set_in(std::uint64_t word) noexcept {
  const std::uint64_t low = (word & is_set_bit) != 0 ? word : (word | is_set_bit) + one_time;
  return ((word & ~low_half) | (low & low_half)) & ~asleep;
}

void flag::set() noexcept {
  auto& word = shared().word;
  // Written even if it is set already: whoever clears it afterwards must see all that was done before this call.
  std::uint64_t seen = word.load(std::memory_order_relaxed);
  do {
    if ((seen & polled_bit) != 0) {
      seen = set_polled(seen);
      break;
    }
  } while (!word.compare_exchange_weak(seen, set_in(seen), std::memory_order_seq_cst));
  // Nothing else is touched any more: whoever has waited for this may have destroyed the event.
  if ((seen & asleep) != 0) {
    os::futex_wake(os::low_half(word), std::numeric_limits<int>::max());
  }
}

// Others who take away at the same time make it count again what it has to add. It adds more each time, so that they
// cannot do so for ever.
std::uint64_t flag::set_polled(std::uint64_t seen) noexcept {
  auto& word = shared().word;
  std::uint64_t begin = seen;
  std::uint64_t added = 0;
  do {
    if ((seen & is_set_bit) == 0) {
      if (generation_of(seen) != generation_of(begin)) {
        begin = seen;
        added = 0;
      }
      const std::uint64_t needed = takers(begin) + announcements_between(begin, seen) + 1;
      if (added < needed) {
        constexpr std::uint64_t most_ahead = 64;
        const std::uint64_t more = needed - added + std::min(added, most_ahead);
        descriptor_.raise(more);
        added += more;
      }
    }
  } while (!word.compare_exchange_weak(seen, set_in(seen), std::memory_order_seq_cst));
  return seen;
}

// While the flag is clear. Ends when it is set, or the count is zero: then whoever adds to it does so to set the flag.
void flag::lower() const noexcept {
  auto& word = shared().word;
  std::uint64_t seen = word.load(std::memory_order_seq_cst);
  while ((seen & is_set_bit) == 0 && takers(seen) < most_takers && descriptor_.is_raised()) {
    if (word.compare_exchange_weak(seen, seen + one_taker + one_announcement, std::memory_order_seq_cst)) {
      (void)descriptor_.lower();
      seen = word.fetch_sub(one_taker, std::memory_order_seq_cst) - one_taker;
    }
  }
}

/// Makes a descriptor that is readable while the flag is clear tell the truth. @return whether the flag is set.
bool flag::settle() const noexcept {
  // Whoever was woken by a set() may be here before that has come to its COMMIT, which it will in a moment.
  constexpr int patience = 16;
  for (int i = 0; i < patience && descriptor_.is_raised(); ++i) {
    if ((shared().word.load(std::memory_order_seq_cst) & is_set_bit) != 0) {
      return true;
    }
    ::sched_yield();
  }
  lower();
  return (shared().word.load(std::memory_order_seq_cst) & is_set_bit) != 0;
}

int flag::descriptor() {
  const int number = descriptor_.get();
  auto& word = shared().word;
  std::uint64_t seen = word.load(std::memory_order_seq_cst);
  while ((seen & polled_bit) == 0) {
    if ((seen & is_set_bit) != 0) {
      descriptor_.raise();
    }
    if (word.compare_exchange_weak(seen, seen | polled_bit, std::memory_order_seq_cst)) {  // COMMIT
      lower();  // should it have been raised for one who was killed, or before it was cleared
      break;
    }
  }
  return number;
}

slot_location flag::location() {
  slot_location place = slot_.location();
  place.readiness = descriptor_.get_if_possible();
  return place;
}

wait_result flag::wait_until(std::uint32_t generation, deadline until) {
  auto& word = shared().word;
  const auto is_over = [=](std::uint64_t seen) {
    return (seen & is_set_bit) != 0 || generation_of(seen) != generation;
  };
  const auto happened = [&] { return is_over(word.load(std::memory_order_seq_cst)); };
  while (!happened()) {
    const wait_result result = wait_on(
        os::low_half(word), happened, [&] { return set_asleep(word, asleep, is_over); }, spin_, until);
    if (result != wait_result::done) {
      return happened() ? wait_result::done : result;
    }
  }
  return wait_result::done;
}

}  // namespace shoal::sync
