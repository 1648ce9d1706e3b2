// The producers' end of shared_queue.

#include <new>
#include <utility>

#include "queue/gather.hpp"
#include "queue/under_lock.hpp"
#include "shoal/error.hpp"

namespace shoal::queue {

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
  append(at, what, gathered_size(what.parts));
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
      append(at, what, gathered_size(what.parts));
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
    std::uint64_t found = room();
    if (found == 0) {
      lower_room();
      found = room();
    }
    if (found == 0) {
      return false;
    }
    room_batching_(found, room);
  }
  const auto has_bytes = [&] {
    return control_->capacity_bytes == 0 || bytes - control_->head.popped.bytes() < control_->capacity_bytes;
  };
  if (!has_bytes()) {
    lower_room();
    return has_bytes();
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
  gather(to + sizeof(record_header), what.parts);
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

}  // namespace shoal::queue
