// The consumers' end of shared_queue.

#include <cstring>
#include <new>
#include <string>
#include <utility>

#include "os/forks.hpp"
#include "queue/under_lock.hpp"
#include "shoal/error.hpp"

namespace shoal::queue {

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
    // Without giving way: handle::await_commit sleeps instead.
    if (!lower_readiness(giving_way::never) && !was_closed) {
      if (size() != 0) {
        continue;
      }
      // Whoever pushes now finds it raised, and an edge-triggered poller would hear nothing after having been told that
      // the queue is empty.
      ready_.raise_anew();
    }
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
    (void)lower_readiness(giving_way::once);
  }
}

void shared_queue::take_returned(const front& taken, std::uint64_t owner) {
  ledger_.take_returned(*taken.returned, owner);
  if (ready_.may_be_raised() && size() == 0) {
    (void)lower_readiness(giving_way::once);
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

shared_queue::outcome shared_queue::pop_many(record_batch& out, loan* large, std::size_t most, std::size_t& popped,
                                             deadline until) {
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
    if (large != nullptr) {
      if (auto owner = new_owner(taken, reader_, holder::in_child::lives_on)) {
        lend(taken, std::move(owner), *large);
        advance(taken.next, 1);
        ++popped;
        return outcome::done;
      }
    }
  }
  const outcome result = take([&](encoding tag, std::size_t size) { return out.append(tag, size); }, nullptr, until);
  popped += result == outcome::done ? 1 : 0;
  return result;
}

shared_queue::outcome shared_queue::borrow(loan& out, record& copy, std::atomic<std::uint64_t>* claim, deadline until) {
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
    advance(taken.next, 1, claim);
    return outcome::done;
  }
  std::memcpy(copy.reset(taken.tag, taken.size), taken.bytes, taken.size);
  if (taken.returned) {
    take_returned(taken, free_lease);
  } else {
    advance(taken.next, 1, claim);
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

}  // namespace shoal::queue
