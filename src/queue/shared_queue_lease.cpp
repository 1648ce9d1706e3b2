// Leases of a shared_queue.

#include <chrono>
#include <utility>

#include "os/forks.hpp"
#include "queue/under_lock.hpp"
#include "shoal/error.hpp"

namespace shoal::queue {

shared_queue::outcome shared_queue::lease(lease_place& out, deadline until) {
  lease_place made;
  made.owner = holder_of(writer_, holder::in_child::ends);
  const guard lock = lock_head(until);
  if (!lock) {
    return outcome::busy;
  }
  front taken;
  if (const outcome found = find_front(taken); found != outcome::done) {
    return found;
  }
  give_notice();
  made.tag = taken.tag;
  made.bytes = {taken.bytes, taken.size};
  if (taken.returned) {
    made.entry = *taken.returned;
    made.ticket = ledger_[made.entry].ticket;
    take_returned(taken, made.owner->number());
  } else {
    made.entry = ledger_.find_free();
    made.ticket = popped();
    ledger_.write(made.entry, made.ticket, taken.at, made.owner->number());
    heap_[taken.at.chunk].lease.store(made.entry + 1, std::memory_order_relaxed);
    advance(taken.next, 1);
  }
  out = std::move(made);
  return outcome::done;
}

bool shared_queue::acknowledge(const lease_place& done) noexcept {
  if (!done.owner->is_exclusive()) {
    return false;  // the parent's
  }
  ledger_[done.entry].word.store(free_lease, std::memory_order_release);  // COMMIT
  if (is_large(done.bytes.size())) {
    // Its memory may go back to the system now, though nobody pushes anything.
    try {
      if (const guard lock = spin_lock_tail()) {
        heap_.tidy();
      }
    } catch (const error&) {  // the segment was overwritten: whoever uses it next is told
    }
  }
  return true;
}

shared_queue::outcome shared_queue::give_back(const lease_place& unused, deadline until) {
  if (!unused.owner->is_exclusive()) {
    return outcome::done;
  }
  const both locks = lock_both(until);
  if (!locks) {
    return outcome::busy;
  }
  ready_.raise_if_polled();
  ledger_.put_back(unused.entry);
  return outcome::done;
}

void shared_queue::abandon(const lease_place& unused) noexcept {
  if (unused.owner->is_exclusive()) {
    ledger_[unused.entry].word.store(abandoned_lease, std::memory_order_release);  // COMMIT
  }
}

// Under the head lock. What dead processes have on lease comes back. That is found out when there is nothing else to
// take, and now and then.
void shared_queue::look_for_dead_holders(bool is_empty) {
  constexpr std::chrono::nanoseconds interval = std::chrono::milliseconds(100);
  const std::int64_t now = std::chrono::steady_clock::now().time_since_epoch().count();
  if (!is_empty && now < next_look_.load(std::memory_order_relaxed)) {
    return;
  }
  next_look_.store(now + interval.count(), std::memory_order_relaxed);
  if (!ledger_.has_dead_holders()) {
    return;
  }
  // Without waiting: a producer stopped inside its critical section must not stop consumers. There will be another
  // look.
  if (const guard tail = spin_lock_tail()) {
    ready_.raise_if_polled();
    const std::uint32_t count = ledger_.put_back_of_the_dead();
    items().notify(static_cast<int>(count));
  }
}

// Lets pollers hear of the death of this process.
void shared_queue::give_notice() noexcept {
  if (noticed_by_ == os::generation()) {
    return;
  }
  noticed_by_ = os::generation();
  try {
    const int descriptor = ready_.descriptor();
    control_->watched.store(1, std::memory_order_relaxed);
    notice_.emplace(descriptor);
  } catch (const std::system_error&) {  // no descriptor left: a poller then hears of it with the next record
  }
}

}  // namespace shoal::queue
