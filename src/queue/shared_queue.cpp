#include "queue/shared_queue.hpp"

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <limits>
#include <new>
#include <string>
#include <utility>

#include "os/forks.hpp"
#include "shoal/error.hpp"

namespace shoal::queue {
namespace {

using std::chrono::steady_clock;

// How long a call waits for a lock before its caller may look at signals.
constexpr std::chrono::milliseconds lock_patience{100};

// Bytes copied under one lock, roughly.
constexpr std::size_t most_copied = 256 * 1024;

sync::lock_result lock_patiently(sync::robust_mutex& mutex, deadline until) {
  sync::lock_result result = mutex.spin_lock();
  if (result == sync::lock_result::timed_out && until != no_waiting) {
    result = mutex.lock_until(std::min(until, steady_clock::now() + lock_patience));
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

std::size_t size_of(std::span<const const_bytes> parts) {
  std::size_t size = 0;
  for (const const_bytes part : parts) {
    size += part.size();
  }
  return size;
}

constexpr bool is_large(std::size_t size) { return size >= byte_queue::large; }

}  // namespace

// Holds one of the two locks, if the attempt succeeded.
class shared_queue::guard {
 public:
  guard() = default;
  guard(sync::robust_mutex& mutex, sync::lock_result result)
      : mutex_(result == sync::lock_result::timed_out ? nullptr : &mutex) {}
  guard(guard&& other) noexcept : mutex_(std::exchange(other.mutex_, nullptr)) {}
  guard& operator=(guard&&) = delete;
  ~guard() {
    if (mutex_ != nullptr) {
      mutex_->unlock();
    }
  }
  explicit operator bool() const noexcept { return mutex_ != nullptr; }

 private:
  sync::robust_mutex* mutex_ = nullptr;
};

// The record that comes next.
struct shared_queue::front {
  position at{};    // where it is
  position next{};  // what comes after it
  encoding tag = encoding::raw;
  std::byte* bytes = nullptr;
  std::size_t size = 0;
  std::optional<std::uint32_t> returned;  // the entry in the ledger, if it comes back from a lease
};

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

// Both locks, or neither.
struct shared_queue::both {
  guard tail;
  guard head;
  explicit operator bool() const noexcept { return static_cast<bool>(tail) && static_cast<bool>(head); }
};

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

// ---- The producers' end.

shared_queue::outcome shared_queue::push(const outgoing_record& what, deadline until) {
  tail_end& tail = control_->tail;
  const guard lock = lock_tail(until);
  if (!lock) {
    return outcome::busy;
  }
  if (is_closed()) {
    return outcome::closed;
  }
  position at = tail.pushed.get();
  if (is_bounded() && !has_room(tail.pushed.count(), at.bytes)) {
    return outcome::not_now;
  }
  append(at, what, size_of(what.parts));
  tail.pushed.prepare(at);
  ready_.raise_if_polled();
  tail.pushed.commit(1);  // COMMIT
  return outcome::done;
}

shared_queue::outcome shared_queue::push_many(std::span<const outgoing_record> records, std::size_t& pushed,
                                              deadline until) {
  tail_end& tail = control_->tail;
  const guard lock = lock_tail(until);
  if (!lock) {
    return outcome::busy;
  }
  if (is_closed()) {
    return outcome::closed;
  }
  const std::uint64_t count = tail.pushed.count();
  position at = tail.pushed.get();
  const std::uint64_t begin = at.bytes;
  std::uint64_t appended = 0;
  for (const outgoing_record& what : records) {
    if (!has_room(count + appended, at.bytes)) {
      break;
    }
    try {
      append(at, what, size_of(what.parts));
    } catch (...) {
      if (appended == 0) {
        throw;
      }
      break;  // those before it are in the queue; the next attempt throws
    }
    ++appended;
    if (at.bytes - begin >= most_copied) {
      break;
    }
  }
  if (appended == 0) {
    return outcome::not_now;
  }
  tail.pushed.prepare(at);
  ready_.raise_if_polled();
  tail.pushed.commit(appended);  // COMMIT
  pushed += appended;
  return outcome::done;
}

// Whether one more record may be pushed behind so many.
bool shared_queue::has_room(std::uint64_t count, std::uint64_t bytes) {
  if (control_->capacity != 0 && count - control_->tail.popped_seen >= control_->capacity) {
    const auto room = [&] {
      control_->tail.popped_seen = popped();
      return control_->tail.popped_seen + control_->capacity - count;
    };
    const std::uint64_t found = room();
    if (found == 0) {
      lower_room();
      return false;
    }
    room_batching_(found, room);
  }
  if (control_->capacity_bytes != 0 && bytes - control_->head.popped.bytes() >= control_->capacity_bytes) {
    lower_room();
    return false;
  }
  return true;
}

// Writes a record where the next one goes, or to another chunk. `at` moves behind it, unless this throws.
void shared_queue::append(position& at, const outgoing_record& what, std::size_t size) {
  const std::uint64_t space = space_for(size);
  const chunk* in = &heap_.checked(at.chunk);
  if (at.offset + space > in->resident.load(std::memory_order_relaxed) || is_large(size)) [[unlikely]] {
    at = make_room(at, size);
    in = &heap_[at.chunk];
  }
  std::byte* to = heap_.data(*in) + at.offset;
  *reinterpret_cast<record_header*>(to) = record_header{size} << 8 | static_cast<std::uint8_t>(what.tag);
  to += sizeof(record_header);
  for (const const_bytes part : what.parts) {
    if (!part.empty()) {
      std::memcpy(to, part.data(), part.size());
      to += part.size();
    }
  }
  // Nothing follows a large record in its chunk: who borrows the record has the chunk to himself.
  at.offset = is_large(size) ? in->size : at.offset + space;
  at.bytes += space;
}

// Where a record goes for which there is no memory yet behind the last one: there, or in another chunk.
position shared_queue::make_room(const position& at, std::size_t size) {
  if (size > segment_->size()) {
    throw std::bad_alloc();
  }
  const std::uint64_t space = space_for(size);
  chunk& current = heap_[at.chunk];
  if (!is_large(size) && at.offset <= current.size && current.size - at.offset >= space) {
    heap_.populate(current, round_up(at.offset + space, chunk_size));
    return at;
  }
  const std::uint32_t next = heap_.take(space);
  try {
    heap_.populate(heap_[next], is_large(size) ? space : chunk_size);
    link(at, next);
  } catch (const std::bad_alloc&) {
    heap_.put_away(next);
    throw;
  }
  return {next, 0, at.bytes};
}

// Makes `next` the chunk behind the tail's. Nobody sees that before the COMMIT.
void shared_queue::link(const position& from, std::uint32_t next) {
  chunk& current = heap_[from.chunk];
  if (from.offset < current.size) {
    heap_.populate(current, from.offset + sizeof(record_header));
    header_at(current, from.offset) = end_of_chunk;
  }
  current.next.store(next, std::memory_order_release);
}

shared_queue::outcome shared_queue::look_for_room(deadline until) {
  const guard lock = lock_tail(until);
  if (!lock) {
    return outcome::busy;
  }
  if (is_closed()) {
    return outcome::closed;
  }
  return has_room(control_->tail.pushed.count(), control_->tail.pushed.bytes()) ? outcome::done : outcome::not_now;
}

shared_queue::outcome shared_queue::reserve(loan& out, std::size_t size, deadline until) {
  if (size > segment_->size()) {
    throw std::bad_alloc();
  }
  const std::uint64_t space = space_for(size);
  loan made;
  try {
    made.owner = holder_of(writer_, holder::in_child::ends);
  } catch (const std::system_error&) {
    return outcome::not_now;
  }
  {
    const guard lock = lock_tail(until);
    if (!lock) {
      return outcome::busy;
    }
    if (is_closed()) {
      return outcome::closed;
    }
    made.chunk = heap_.take(space);
    if (!heap_.reserve(made.chunk, made.owner->number())) {
      heap_.put_away(made.chunk);
      return outcome::not_now;
    }
  }
  try {
    heap_.populate(heap_[made.chunk], space);
  } catch (const std::bad_alloc&) {
    cancel(made);
    throw;
  }
  made.bytes = {heap_.data(heap_[made.chunk]) + sizeof(record_header), size};
  out = std::move(made);
  return outcome::done;
}

shared_queue::outcome shared_queue::push_reserved(const loan& ready, encoding tag, deadline until) {
  tail_end& tail = control_->tail;
  chunk& made = heap_[ready.chunk];
  const guard lock = lock_tail(until);
  if (!lock) {
    return outcome::busy;
  }
  if (is_closed()) {
    return outcome::closed;
  }
  const position at = tail.pushed.get();
  if (!has_room(tail.pushed.count(), at.bytes)) {
    return outcome::not_now;
  }
  header_at(made, 0) = record_header{ready.bytes.size()} << 8 | static_cast<std::uint8_t>(tag);
  link(at, ready.chunk);
  made.owner.store(0, std::memory_order_relaxed);
  control_->lent.fetch_sub(made.size, std::memory_order_relaxed);
  const std::size_t size = ready.bytes.size();
  tail.pushed.prepare({ready.chunk, is_large(size) ? made.size : space_for(size), at.bytes + space_for(size)});
  ready_.raise_if_polled();
  tail.pushed.commit(1);               // COMMIT
  heap_.end_reservation(ready.chunk);  // chunk_heap::recover does this for the dead
  return outcome::done;
}

void shared_queue::cancel(const loan& unused) noexcept {
  if (!unused.owner->is_exclusive()) {
    return;  // the parent's
  }
  try {
    const guard lock = lock_tail(forever);
    control_->lent.fetch_sub(heap_[unused.chunk].size, std::memory_order_relaxed);
    heap_[unused.chunk].owner.store(0, std::memory_order_relaxed);
    if (lock) {  // otherwise it is found among the reserved ones as one that nobody owns
      heap_.end_reservation(unused.chunk);
      heap_.put_away(unused.chunk);
    }
  } catch (const error&) {  // the segment was overwritten: whoever uses it next is told
  }
}

// ---- The consumers' end.

record_header& shared_queue::header_at(const chunk& in, std::uint64_t offset) const noexcept {
  return *reinterpret_cast<record_header*>(heap_.data(in) + offset);
}

// Whether no record is at a place where, unless the queue is empty, one begins or its chunk ends.
bool shared_queue::is_end_of_chunk(const position& at) const {
  const chunk& current = heap_.checked(at.chunk);
  if (at.offset > current.size || at.offset % sizeof(record_header) != 0) {
    throw_corrupt("a record begins at byte " + std::to_string(at.offset) + " of a chunk of " +
                  std::to_string(current.size));
  }
  return at.offset + sizeof(record_header) > current.size || header_at(current, at.offset) == end_of_chunk;
}

void shared_queue::move_to_next(position& at) const {
  for (std::uint64_t steps = 0; is_end_of_chunk(at); ++steps) {
    if (steps == control_->chunk_limit) {
      throw_corrupt("its chunks end without the record that was counted");
    }
    at = {heap_[at.chunk].next.load(std::memory_order_acquire), 0, at.bytes};
  }
}

// Learns what record is at `of.at`.
void shared_queue::read(front& of) const {
  const chunk& current = heap_.checked(of.at.chunk);
  const record_header header = header_at(current, of.at.offset);
  const std::uint64_t size = header >> 8;
  if (size > current.size - of.at.offset - sizeof header) {
    throw_corrupt("the record at byte " + std::to_string(current.offset + of.at.offset) + " claims " +
                  std::to_string(size) + " bytes, its chunk has " +
                  std::to_string(current.size - of.at.offset - sizeof header) + " left");
  }
  const std::uint64_t space = space_for(size);
  // One by one: a structure copied as a whole right after its parts were written stalls the processor.
  of.next.chunk = of.at.chunk;
  of.next.offset = is_large(size) ? current.size : of.at.offset + space;
  of.next.bytes = of.at.bytes + space;
  of.tag = static_cast<encoding>(header & 0xff);
  of.bytes = heap_.data(current) + of.at.offset + sizeof header;
  of.size = size;
}

shared_queue::outcome shared_queue::find_front(front& out) {
  head_end& head = control_->head;
  if (ledger_.has_active()) [[unlikely]] {
    look_for_dead_holders(false);
  }
  for (;;) {
    if (ledger_.has_returned()) [[unlikely]] {
      const std::optional<std::uint32_t> entry = ledger_.oldest_returned();
      if (!entry) {
        throw_corrupt("a record that came back from a lease is missing");
      }
      out.at = {ledger_[*entry].chunk.load(std::memory_order_relaxed), ledger_[*entry].offset, 0};
      out.returned = entry;
      if (is_end_of_chunk(out.at)) {
        throw_corrupt("a lease refers to no record");
      }
      read(out);
      return outcome::done;
    }
    const std::uint64_t count = head.popped.count();
    if (count != head.pushed_seen) {
      break;
    }
    const bool was_closed = is_closed();  // read first: nothing is pushed after it was set
    const auto arrivals = [&] {
      head.pushed_seen = pushed();
      return head.pushed_seen - count;
    };
    if (const std::uint64_t found = arrivals(); found != 0) {
      arrivals_(found, arrivals);
      break;
    }
    if (ledger_.has_active()) {
      look_for_dead_holders(true);
      if (head.returned.load(std::memory_order_relaxed) != 0) {
        continue;
      }
    }
    lower_readiness();
    return was_closed ? outcome::closed : outcome::not_now;
  }
  out.at = head.popped.get();
  if (is_end_of_chunk(out.at)) [[unlikely]] {
    move_to_next(out.at);
  }
  read(out);
  return outcome::done;
}

// Makes it real that `records` more have been taken, up to `to`.
void shared_queue::advance(const position& to, std::uint64_t records, std::atomic<std::uint64_t>* claim) {
  head_end& head = control_->head;
  const std::uint64_t count = head.popped.count();
  const std::uint32_t left = head.popped.get().chunk;
  head.popped.prepare(to);
  if (claim != nullptr) {
    claim->store(count + 1, std::memory_order_release);
  }
  room_.raise_if_polled();
  head.popped.commit(records);  // COMMIT
  if (to.chunk != left) {
    heap_.trim_left(left, to.chunk);
    head.chunk.store(to.chunk, std::memory_order_release);
  }
  if (ready_.may_be_raised() && count + records == pushed()) {
    lower_readiness();
  }
}

void shared_queue::take_returned(const front& taken, std::uint64_t owner) {
  ledger_.take_returned(*taken.returned, owner);
  if (ready_.may_be_raised() && size() == 0) {
    lower_readiness();
  }
}

// Takes the record in front into memory that make_room(tag, size) gives.
template <class MakeRoom>
shared_queue::outcome shared_queue::take(MakeRoom make_room, std::atomic<std::uint64_t>* claim, deadline until) {
  loan large;
  std::byte* to = nullptr;
  {
    const guard lock = lock_head(until);
    if (!lock) {
      return outcome::busy;
    }
    front taken;
    if (const outcome found = find_front(taken); found != outcome::done) {
      return found;
    }
    // Not for a child: it would have it for good, as it does not have this thread to give it back.
    std::shared_ptr<const holder> owner = new_owner(taken, writer_, holder::in_child::ends);
    to = make_room(taken.tag, taken.size);
    if (owner == nullptr) {
      std::memcpy(to, taken.bytes, taken.size);
      if (taken.returned) {
        take_returned(taken, free_lease);
      } else {
        advance(taken.next, 1, claim);
      }
      return outcome::done;
    }
    lend(taken, std::move(owner), large);
    advance(taken.next, 1, claim);
  }
  // Without the lock: it is large, and ours until we give it back.
  std::memcpy(to, large.bytes.data(), large.bytes.size());
  give_back(large);
  return outcome::done;
}

shared_queue::outcome shared_queue::pop(record& out, std::atomic<std::uint64_t>* claim, deadline until) {
  return take([&](encoding tag, std::size_t size) { return out.reset(tag, size); }, claim, until);
}

shared_queue::outcome shared_queue::pop_many(record_batch& out, std::size_t most, std::size_t& popped, deadline until) {
  {
    const guard lock = lock_head(until);
    if (!lock) {
      return outcome::busy;
    }
    front taken;
    if (const outcome found = find_front(taken); found != outcome::done) {
      return found;
    }
    if (!taken.returned && !is_large(taken.size)) {
      const std::uint64_t available = control_->head.pushed_seen - this->popped();
      const std::uint64_t begin = taken.at.bytes;
      std::uint64_t count = 0;
      position behind = taken.at;
      for (;;) {
        try {
          std::memcpy(out.append(taken.tag, taken.size), taken.bytes, taken.size);
        } catch (const std::bad_alloc&) {
          if (count == 0) {
            throw;
          }
          break;
        }
        behind = taken.next;
        ++count;
        if (count == most || count == available || behind.bytes - begin >= most_copied) {
          break;
        }
        taken.at = taken.next;
        move_to_next(taken.at);
        read(taken);
        if (is_large(taken.size)) {
          break;
        }
      }
      advance(behind, count);
      popped += count;
      return outcome::done;
    }
  }
  const outcome result = take([&](encoding tag, std::size_t size) { return out.append(tag, size); }, nullptr, until);
  popped += result == outcome::done ? 1 : 0;
  return result;
}

shared_queue::outcome shared_queue::borrow(loan& out, record& copy, deadline until) {
  const guard lock = lock_head(until);
  if (!lock) {
    return outcome::busy;
  }
  front taken;
  if (const outcome found = find_front(taken); found != outcome::done) {
    return found;
  }
  if (auto owner = new_owner(taken, reader_, holder::in_child::lives_on)) {
    lend(taken, std::move(owner), out);
    advance(taken.next, 1);
    return outcome::done;
  }
  std::memcpy(copy.reset(taken.tag, taken.size), taken.bytes, taken.size);
  if (taken.returned) {
    take_returned(taken, free_lease);
  } else {
    advance(taken.next, 1);
  }
  return outcome::done;
}

// Who may own the chunk of the record in front; nobody if it has to be copied under the lock.
std::shared_ptr<const holder> shared_queue::new_owner(const front& taken, std::shared_ptr<const holder>& kept,
                                                      holder::in_child fate) {
  if (taken.returned || !is_large(taken.size)) {
    return nullptr;
  }
  try {
    return holder_of(kept, fate);
  } catch (const std::system_error&) {
    return nullptr;  // no descriptor left
  }
}

// Makes `to` the owner of the chunk of a large record that is about to be popped.
void shared_queue::lend(const front& taken, std::shared_ptr<const holder> to, loan& out) noexcept {
  chunk& in = heap_[taken.at.chunk];
  // It has an owner already if one was killed before its pop became real; then it was counted as well.
  if (in.owner.load(std::memory_order_relaxed) == 0) {
    control_->lent.fetch_add(in.size, std::memory_order_relaxed);
  }
  in.owner.store(to->number(), std::memory_order_relaxed);
  out.owner = std::move(to);
  out.chunk = taken.at.chunk;
  out.bytes = {taken.bytes, taken.size};
  out.tag = taken.tag;
}

void shared_queue::give_back(const loan& unused) noexcept {
  chunk& in = heap_[unused.chunk];
  std::shared_ptr<const holder> ended;  // outside the no_fork
  const os::no_fork now;
  if (!unused.owner->is_exclusive()) {
    // A child or the parent may read it still; it is free when both have let go of the holder, and this is how.
    if (reader_ == unused.owner) {
      reader_.swap(ended);
    }
    return;
  }
  control_->lent.fetch_sub(in.size, std::memory_order_relaxed);
  heap_.trim(in);
  in.owner.store(0, std::memory_order_release);  // COMMIT
}

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
  const std::int64_t now = steady_clock::now().time_since_epoch().count();
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

// Under the head lock, with the queue seen empty.
void shared_queue::lower_readiness() {
  const bool watched = control_->watched.load(std::memory_order_relaxed) != 0;
  if (!ready_.may_be_raised() && !(watched && ready_.is_readable())) {
    return;
  }
  // Without waiting: a producer stopped inside its critical section must not stop consumers that have what they wanted.
  // It stays raised then, and the next look at the empty queue lowers it.
  const guard lock = spin_lock_tail();
  if (lock && size() == 0 && !is_closed()) {
    lower_unless_leases_come_back();
  }
}

// Under both locks, with the queue empty. A holder of leases that dies raises the descriptor, once: so it must not be
// lowered after that and before the leases are back. Who dies later than this looks raises it later. (The dying first:
// one that is no longer among them is among the dead.)
void shared_queue::lower_unless_leases_come_back() {
  if (ready_.lower() && ledger_.has_active() && (ledger_.has_dying_holders() || ledger_.has_dead_holders())) {
    ready_.raise_again();
  }
}

// Under the tail lock, with the queue seen full.
void shared_queue::lower_room() {
  if (!room_.may_be_raised()) {
    return;
  }
  const guard lock = spin_lock_head();  // without waiting, as above
  if (lock && is_full() && !is_closed()) {
    room_.lower();
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
