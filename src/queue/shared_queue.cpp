#include "queue/shared_queue.hpp"

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>

#include "os/forks.hpp"
#include "queue/under_lock.hpp"
#include "shoal/error.hpp"

namespace shoal::queue {
namespace {

// How long a call waits for a lock before its caller may look at signals.
constexpr std::chrono::milliseconds lock_patience{100};

sync::lock_result lock_patiently(sync::robust_mutex& mutex, deadline until) {
  sync::lock_result result = mutex.spin_lock();
  if (result == sync::lock_result::timed_out && until != no_waiting) {
    result = mutex.lock_until(std::min(until, std::chrono::steady_clock::now() + lock_patience));
  }
  return result;
}

sync::lock_result spin_or_yield(sync::robust_mutex& mutex) {
  const sync::lock_result result = mutex.spin_lock();
  if (result != sync::lock_result::timed_out) {
    return result;
  }
  ::sched_yield();
  return mutex.spin_lock();
}

constexpr int everybody = std::numeric_limits<int>::max();

}  // namespace

// Recovery comes before anybody reads what the lock guards. Then all sleepers are woken: a holder that died between its
// commit and its wake-up has left some behind.
//
// If it finds the segment overwritten, all are told. (To leave the lock inconsistent would be another way, but glibc's
// pthread_mutex_trylock keeps such a lock, up to 2.36 at least, and the next one waits for ever.)
template <class Recover>
shared_queue::guard shared_queue::recovered(sync::robust_mutex& mutex, sync::lock_result result, Recover recover) {
  if (result == sync::lock_result::unusable) {
    throw_corrupt("one of its locks makes no sense");
  }
  guard lock(mutex, result);
  if (result == sync::lock_result::owner_died) {
    try {
      recover();
    } catch (const error&) {
      control_->damaged.store(1, std::memory_order_relaxed);
      mutex.consistent();
      throw;
    }
    mutex.consistent();
    items().notify(everybody);
    space().notify(everybody);
  }
  if (control_->damaged.load(std::memory_order_relaxed) != 0) [[unlikely]] {
    throw_corrupt("that was found when a process had died");
  }
  return lock;
}

shared_queue::guard shared_queue::tail_guard(sync::lock_result result) {
  return recovered(control_->tail.lock, result, [this] { heap_.recover(); });
}

shared_queue::guard shared_queue::head_guard(sync::lock_result result) {
  return recovered(control_->head.lock, result, [this] {
    ledger_.recover();
    heap_.recount();
    // It may have moved to another chunk without telling the producers.
    control_->head.chunk.store(control_->head.popped.get().chunk, std::memory_order_release);
  });
}

// Without waiting, but for one who was put aside while it held the lock, perhaps by waking this very process: on a busy
// machine whole time slices would go by otherwise, with one end making the other look in vain.
shared_queue::guard shared_queue::spin_lock_tail() { return tail_guard(spin_or_yield(control_->tail.lock)); }
shared_queue::guard shared_queue::spin_lock_head() { return head_guard(spin_or_yield(control_->head.lock)); }
shared_queue::guard shared_queue::lock_tail(deadline until) {
  return tail_guard(lock_patiently(control_->tail.lock, until));
}
shared_queue::guard shared_queue::lock_head(deadline until) {
  return head_guard(lock_patiently(control_->head.lock, until));
}

// Whoever has the one does not wait for the other: a producer that was stopped must not stop consumers as well.
shared_queue::both shared_queue::lock_both(deadline until) {
  constexpr int attempts = 3;
  for (int i = 0; i < attempts; ++i) {
    {
      guard tail = lock_tail(until);
      if (!tail) {
        break;
      }
      if (guard head = spin_lock_head()) {
        return {std::move(tail), std::move(head)};
      }
    }
    if (const guard head = lock_head(until); !head) {
      break;
    }
  }
  return {};
}

shared_queue::shared_queue(const queue_options& options)
    : segment_(options),
      control_(segment_->at<control>(control_offset)),
      heap_(*segment_, *control_),
      ledger_(*segment_, *control_),
      ready_(control_->ready),
      room_(options.capacity != 0 || options.capacity_bytes != 0 ? readiness(control_->room)
                                                                 : readiness::never(control_->room)) {
  control_->capacity = options.capacity;
  control_->capacity_bytes = options.capacity_bytes;
  control_->chunk_limit = places(segment_->size()).chunk_limit;
  control_->tail.lock.initialize();
  control_->head.lock.initialize();
  heap_.initialize();
}

shared_queue::shared_queue(queue_descriptors descriptors)
    : segment_(descriptors.segment),
      control_(segment_->at<control>(control_offset)),
      heap_(*segment_, *control_),
      ledger_(*segment_, *control_),
      ready_(control_->ready, attach_event_fd(descriptors.readiness, "second")),
      room_(is_bounded() ? readiness(control_->room, attach_event_fd(descriptors.room, "third"))
                         : readiness::never(control_->room)) {}

queue_descriptors shared_queue::descriptors() {
  return {segment_->descriptor(), ready_.descriptor(), is_bounded() ? room_.descriptor() : -1};
}

// ---- Both ends.

shared_queue::outcome shared_queue::close(deadline until) {
  const both locks = lock_both(until);
  if (!locks) {
    return outcome::busy;
  }
  ready_.raise_if_polled();
  room_.raise_if_polled();
  control_->closed.store(1, std::memory_order_seq_cst);  // COMMIT
  return outcome::done;
}

shared_queue::outcome shared_queue::clear(std::size_t& dropped, deadline until) {
  const both locks = lock_both(until);
  if (!locks) {
    return outcome::busy;
  }
  dropped += ledger_.drop_returned();
  if (const std::uint64_t count = pushed() - popped(); count != 0) {
    const std::uint32_t left = control_->head.popped.get().chunk;
    const position to = control_->tail.pushed.get();
    control_->head.pushed_seen = pushed();
    control_->head.popped.prepare(to);
    room_.raise_if_polled();
    control_->head.popped.commit(count);  // COMMIT
    heap_.trim_left(left, to.chunk);
    control_->head.chunk.store(to.chunk, std::memory_order_release);
    dropped += count;
  }
  if (!is_closed() && ready_.may_be_raised()) {
    lower_unless_leases_come_back();
  }
  return outcome::done;
}

shared_queue::outcome shared_queue::start_polling(deadline until) {
  if (ready_.is_polled()) {
    return outcome::done;
  }
  // The head as well: what a dead process was putting back there has been recovered then, and counts.
  const both locks = lock_both(until);
  if (!locks) {
    return outcome::busy;
  }
  ready_.start(size() != 0 || is_closed());
  return outcome::done;
}

shared_queue::outcome shared_queue::start_polling_room(deadline until) {
  if (room_.is_polled()) {
    return outcome::done;
  }
  const guard lock = lock_head(until);
  if (!lock) {
    return outcome::busy;
  }
  room_.start(!is_full() || is_closed());
  return outcome::done;
}

// Under the head lock, with the queue seen empty. Only tries for the tail lock: a producer may have it that was
// stopped, or one that found the queue full and tries for the head lock. Then it stays raised, and the next look at the
// empty queue lowers it. Returns false if it stays raised.
bool shared_queue::lower_readiness(giving_way way) {
  const bool watched = control_->watched.load(std::memory_order_relaxed) != 0;
  if (!ready_.may_be_raised() && !(watched && ready_.is_readable())) {
    return true;
  }
  const guard lock = way == giving_way::once ? spin_lock_tail() : lock_tail(no_waiting);
  const bool lowers = lock && size() == 0 && !is_closed();
  if (lowers) {
    lower_unless_leases_come_back();
  }
  return lowers;
}

// Under both locks, with the queue empty. A holder of leases that dies raises the descriptor, once: so it must not be
// lowered after that and before the leases are back. Who dies later than this looks raises it later. (The dying first:
// one that is no longer among them is among the dead.)
void shared_queue::lower_unless_leases_come_back() {
  if (ready_.lower() && ledger_.has_active() && (ledger_.has_dying_holders() || ledger_.has_dead_holders())) {
    ready_.raise_again();
  }
}

// Under the tail lock, by one who found the queue full; as above.
void shared_queue::lower_room() {
  if (!room_.may_be_raised() || !is_full()) {
    return;
  }
  const guard lock = lock_head(no_waiting);
  if (lock && is_full() && !is_closed()) {
    room_.lower();
  } else if (is_full()) {
    room_.raise_anew();  // as in find_front
  }
}

std::uint64_t shared_queue::size() const noexcept {
  std::uint64_t taken = popped();
  for (;;) {
    const std::uint64_t returned = control_->head.returned.load(std::memory_order_seq_cst);
    const std::uint64_t put = pushed();
    const std::uint64_t taken_now = popped();
    if (taken_now == taken && control_->head.returned.load(std::memory_order_seq_cst) == returned) {
      return put - taken + returned;  // the counts were true together when `put` was read
    }
    taken = taken_now;
  }
}

std::uint64_t shared_queue::bytes() const noexcept {
  std::uint64_t taken = control_->head.popped.bytes();
  for (;;) {
    const std::uint64_t put = control_->tail.pushed.bytes();
    const std::uint64_t taken_now = control_->head.popped.bytes();
    if (taken_now == taken) {
      return put - taken;
    }
    taken = taken_now;
  }
}

bool shared_queue::is_full() const noexcept {
  const std::uint64_t taken = popped();  // first: more may be pushed than is seen here, not less
  return (capacity() != 0 && pushed() - taken >= capacity()) || (capacity_bytes() != 0 && bytes() >= capacity_bytes());
}

// This process as an owner of things in the queue; another one after each fork.
std::shared_ptr<const holder> shared_queue::holder_of(std::shared_ptr<const holder>& kept, holder::in_child fate) {
  std::shared_ptr<const holder> made;
  {
    const os::no_fork now;
    if (kept != nullptr && kept->is_exclusive()) {
      return kept;
    }
  }
  const std::uint64_t number = control_->last_holder.fetch_add(1, std::memory_order_relaxed) + 1;
  made = std::make_shared<const holder>(segment_->descriptor(), number, fate);
  std::shared_ptr<const holder> old = made;  // ends after the no_fork, as its destructor locks
  const os::no_fork now;
  std::swap(kept, old);
  return made;
}

}  // namespace shoal::queue
