#include "queue/chunk_heap.hpp"

#include <algorithm>
#include <limits>
#include <new>
#include <string>

#include "queue/holder.hpp"
#include "shoal/error.hpp"

namespace shoal::queue {
namespace {

// How many chunks are looked at for one that is needed; the rest at the next occasions.
constexpr int few = 16;
constexpr int all = std::numeric_limits<int>::max();

// Idle memory that a queue keeps. As much as a few large arrays: making a page anew takes longer than copying one.
constexpr std::uint64_t most_idle = std::uint64_t{40} << 20;

// Small chunks that consumers have just left are in their processor's cache still, and taking its lines away costs
// producers more than a chunk that lies a little further back: 64-byte records went at half the speed (measured with
// none against two; more bring nothing).
constexpr int cooling = 2;

// The file grows by so much at once, since asking for it is a system call. What is not touched needs no memory.
constexpr std::uint64_t file_step = std::uint64_t{4} << 20;

/// A COMMIT into a word that is not atomic, since only its lock's holders look at it. A process that is killed here
/// leaves what it had stored so far: the compiler must not change the order.
template <class T>
void commit(T& to, T value) noexcept {
  std::atomic_signal_fence(std::memory_order_seq_cst);
  to = value;
  std::atomic_signal_fence(std::memory_order_seq_cst);
}

}  // namespace

void throw_corrupt(const std::string& found) {
  throw error(errc::corrupt_record, "the shared memory of the queue has been written over: " + found +
                                        ". The queue cannot be used any further; make a new one.");
}

chunk_heap::chunk_heap(const memory::segment& segment, control& shared) noexcept
    : segment_(&segment),
      shared_(&shared),
      heap_(&shared.heap),
      table_(segment.at<chunk>(table_offset)),
      ledger_(segment.at<ledger_entry>(places(segment.size()).ledger_offset)) {}

void chunk_heap::initialize() {
  segment_->grow(table_offset + memory::page_size);
  segment_->populate(first_chunk_offset, memory::page_size);
  segment_->populate(table_offset, memory::page_size);
  table_[0].offset = first_chunk_offset;
  table_[0].size = chunk_size;
  table_[0].resident = memory::page_size;  // many queues never hold more
  shared_->resident = memory::page_size;
  heap_->chunk_count = 1;
}

void chunk_heap::throw_outside(std::uint32_t index) {
  throw_corrupt("chunk " + std::to_string(index) + " lies outside its memory");
}

void chunk_heap::push(stack& onto, std::uint32_t index) const noexcept {
  table_[index].next.store(onto, std::memory_order_relaxed);
  commit(onto, index + 1);  // COMMIT: the chunk, which was nobody's, is in this stack
}

std::uint32_t chunk_heap::pop(stack& from) const noexcept {
  const std::uint32_t top = from;
  if (top != no_chunk) {
    commit(from, table_[top - 1].next.load(std::memory_order_relaxed));  // COMMIT: the chunk is nobody's
  }
  return top;
}

std::uint32_t chunk_heap::pop_of_class(std::size_t size_class) noexcept {
  const std::uint32_t top = pop(heap_->warm[size_class]);
  return top != no_chunk ? top : pop(heap_->cold[size_class]);
}

void chunk_heap::put_away(std::uint32_t index) {
  chunk& left = checked(index);
  if (is_in_use(left) || is_leased(index)) {
    push(heap_->held[0], index);
    return;
  }
  auto& stacks = left.resident.load(std::memory_order_relaxed) != 0 ? heap_->warm : heap_->cold;
  push(stacks[std::min(size_class_of(left.size), size_classes - 1)], index);
}

// Whether a living process reads it in place. What a dead one has left is taken away from it.
bool chunk_heap::is_in_use(chunk& left) const {
  // Acquire: what a reader did there comes before what is written there next.
  std::uint64_t owner = left.owner.load(std::memory_order_acquire);
  if (owner == 0) {
    return false;
  }
  if (holder::is_alive(segment_->descriptor(), owner)) {
    return true;
  }
  if (left.owner.compare_exchange_strong(owner, 0, std::memory_order_acquire)) {
    recount();  // it may have died in the middle of giving it back
    trim(left);
  }
  return false;
}

// Whether a record in a chunk that consumers have left is out on lease, or has come back. The chunk remembers one lease
// of it, which mostly answers the question; only when that has ended the others are looked through.
bool chunk_heap::is_leased(std::uint32_t index) const {
  chunk& left = table_[index];
  const auto refers = [&](const ledger_entry& entry) {
    return entry.word.load(std::memory_order_acquire) != free_lease &&
           entry.chunk.load(std::memory_order_relaxed) == index;
  };
  const std::uint32_t known = left.lease.load(std::memory_order_relaxed);
  const auto limit = static_cast<std::uint32_t>(places(segment_->size()).lease_limit);
  if (known == 0 || known > limit) {
    return false;
  }
  if (refers(ledger_[known - 1])) {
    return true;
  }
  const std::uint32_t used = std::min(shared_->ledger.used.load(std::memory_order_relaxed), limit);
  const ledger_entry* const found = std::find_if(ledger_, ledger_ + used, refers);
  left.lease.store(found == ledger_ + used ? 0 : static_cast<std::uint32_t>(found - ledger_) + 1,
                   std::memory_order_relaxed);
  return found != ledger_ + used;
}

// Whether consumers have left at least `count` chunks after this one.
bool chunk_heap::was_left_before(std::uint32_t index, int count, std::uint32_t first_used) const {
  for (; count > 0 && index != first_used; --count) {
    index = checked(index).next.load(std::memory_order_relaxed);
  }
  return index != first_used;
}

// Puts away chunks that consumers have left.
void chunk_heap::collect(int most, int but) {
  // Acquire: what consumers read from a chunk before they left it comes before what is written to it now.
  const std::uint32_t first_used = shared_->head.chunk.load(std::memory_order_acquire);
  for (int i = 0; i < most && heap_->oldest != first_used; ++i) {
    const std::uint32_t left = heap_->oldest;
    if (checked(left).size == chunk_size && !was_left_before(left, but, first_used)) {
      return;
    }
    commit(heap_->oldest, table_[left].next.load(std::memory_order_relaxed));  // COMMIT: the chunk is nobody's
    put_away(left);
  }
}

// Looks whether chunks that were set aside have come free. Each turn goes through all of them, a few at a time.
void chunk_heap::look_at_held(int most) {
  auto& [later, now] = heap_->held;
  if (now == no_chunk) {
    commit(now, later);  // COMMIT: for a moment both stacks are one, which mark_stack does not mind
    commit(later, no_chunk);
  }
  for (int i = 0; i < most; ++i) {
    const std::uint32_t top = pop(now);
    if (top == no_chunk) {
      return;
    }
    if (chunk& set_aside = checked(top - 1); !is_in_use(set_aside) && !is_leased(top - 1)) {
      trim(set_aside);
    }
    put_away(top - 1);
  }
}

void chunk_heap::tidy() {
  collect(few, cooling);
  look_at_held(few);
}

std::uint32_t chunk_heap::take(std::uint64_t space) {
  if (space > segment_->size()) {
    throw std::bad_alloc();
  }
  collect(few, cooling);
  const std::size_t wanted = size_class_of(chunk_size_for(space));
  if (wanted >= size_classes) {
    throw std::bad_alloc();
  }
  std::uint32_t found = pop_of_class(wanted);
  if (found == no_chunk) {
    look_at_held(few);
    found = pop_of_class(wanted);
  }
  if (found == no_chunk) {
    end_reservations_of_the_dead();
    found = pop_of_class(wanted);
  }
  if (found == no_chunk) {
    found = grow(space);
  }
  if (found == no_chunk) {
    // No room for another chunk: now it is worth looking everywhere, and taking one that is larger than needed.
    collect(all, 0);
    look_at_held(all);
    look_at_held(all);
    for (std::size_t larger = wanted; larger < size_classes && found == no_chunk; ++larger) {
      found = pop_of_class(larger);
    }
  }
  if (found == no_chunk) {
    throw std::bad_alloc();
  }
  return found - 1;
}

// @return index + 1 of a new chunk, or no_chunk.
std::uint32_t chunk_heap::grow(std::uint64_t space) {
  const places at(segment_->size());
  const std::uint32_t index = heap_->chunk_count.load(std::memory_order_relaxed);
  const std::uint64_t size = chunk_size_for(space);
  const chunk& newest = checked(index - 1);
  const std::uint64_t offset = std::max<std::uint64_t>(newest.offset + newest.size, at.data_offset);
  if (index >= shared_->chunk_limit || offset + size > segment_->size()) {
    return no_chunk;
  }
  segment_->grow(std::min<std::uint64_t>(round_up(offset + size, file_step), segment_->size()));
  if (const std::size_t entry = table_offset + index * sizeof(chunk); entry % memory::page_size == 0) {
    segment_->populate(entry, memory::page_size);
  }
  chunk& made = table_[index];
  made.offset = offset;
  made.size = size;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  heap_->chunk_count.store(index + 1, std::memory_order_release);  // COMMIT: there is one more chunk, which is nobody's
  return index + 1;
}

bool chunk_heap::reserve(std::uint32_t index, std::uint64_t owner) {
  auto& reserved = shared_->reserved;
  auto place = std::find(reserved.begin(), reserved.end(), no_chunk);
  if (place == reserved.end()) {
    end_reservations_of_the_dead();
    place = std::find(reserved.begin(), reserved.end(), no_chunk);
  }
  if (place == reserved.end()) {
    return false;
  }
  shared_->lent.fetch_add(table_[index].size, std::memory_order_relaxed);
  table_[index].owner.store(owner, std::memory_order_relaxed);
  commit(*place, index + 1);  // COMMIT: the chunk, which was nobody's, is the owner's
  return true;
}

void chunk_heap::end_reservation(std::uint32_t index) noexcept {
  std::replace(shared_->reserved.begin(), shared_->reserved.end(), index + 1, no_chunk);
}

void chunk_heap::end_reservations_of_the_dead() {
  for (std::uint32_t& place : shared_->reserved) {
    if (place == no_chunk) {
      continue;
    }
    const std::uint32_t index = place - 1;
    const std::uint64_t owner = checked(index).owner.load(std::memory_order_relaxed);
    if (owner == 0 || !holder::is_alive(segment_->descriptor(), owner)) {
      table_[index].owner.store(0, std::memory_order_relaxed);
      recount();                // it may have died in the middle of giving it memory
      commit(place, no_chunk);  // COMMIT: the chunk is nobody's
      put_away(index);
    }
  }
}

// Marks the chunks of a stack as having a place.
void chunk_heap::mark_stack(stack from, std::uint32_t epoch) const {
  for (std::uint32_t steps = 0; from != no_chunk; ++steps) {
    if (steps > heap_->chunk_count) {
      throw_corrupt("a list of its chunks has no end");
    }
    chunk& found = checked(from - 1);
    found.mark = epoch;
    from = found.next.load(std::memory_order_relaxed);
  }
}

// A chunk that is in the chain, in a stack or reserved has a place; the dead one had taken all others from theirs.
void chunk_heap::recover() {
  const std::uint32_t epoch = ++heap_->epoch;
  const std::uint32_t last = shared_->tail.pushed.get().chunk;
  std::uint32_t in_chain = heap_->oldest;
  for (std::uint32_t steps = 0; in_chain != last; ++steps) {
    if (steps > heap_->chunk_count) {
      throw_corrupt("the chain of its chunks has no end");
    }
    chunk& found = checked(in_chain);
    found.mark = epoch;
    in_chain = found.next.load(std::memory_order_relaxed);
  }
  checked(last).mark = epoch;
  for (std::size_t size_class = 0; size_class < size_classes; ++size_class) {
    mark_stack(heap_->warm[size_class], epoch);
    mark_stack(heap_->cold[size_class], epoch);
  }
  auto& [later, now] = heap_->held;
  mark_stack(later, epoch);
  mark_stack(now, epoch);
  if (later == now) {
    later = no_chunk;  // it died in the middle of look_at_held
  }
  for (std::uint32_t& place : shared_->reserved) {
    if (place == no_chunk) {
      continue;
    }
    if (chunk& found = checked(place - 1); found.mark == epoch) {
      place = no_chunk;  // its record was pushed
    } else if (found.owner.load(std::memory_order_relaxed) != 0) {
      found.mark = epoch;
    } else {
      place = no_chunk;
    }
  }
  for (std::uint32_t index = 0; index < heap_->chunk_count; ++index) {
    if (table_[index].mark != epoch) {
      put_away(index);
    }
  }
  recount();
}

void chunk_heap::recount() const noexcept {
  std::uint64_t resident = 0;
  std::uint64_t lent = 0;
  for (std::uint32_t index = 0; index < heap_->chunk_count; ++index) {
    resident += table_[index].resident.load(std::memory_order_relaxed);
    lent += table_[index].owner.load(std::memory_order_relaxed) != 0 ? table_[index].size : 0;
  }
  shared_->resident.store(resident, std::memory_order_relaxed);
  shared_->lent.store(lent, std::memory_order_relaxed);
}

void chunk_heap::populate(chunk& made, std::uint64_t size) const {
  const std::uint64_t wanted = std::min<std::uint64_t>(round_up(size, memory::page_size), made.size);
  const std::uint64_t there = made.resident.load(std::memory_order_relaxed);
  if (there < wanted) {
    segment_->populate(made.offset + there, wanted - there);
    made.resident.store(wanted, std::memory_order_relaxed);
    shared_->resident.fetch_add(wanted - there, std::memory_order_relaxed);
  }
}

void chunk_heap::trim(chunk& unused) const noexcept {
  // All three are read at different moments. That makes the sum a guess, and a wrong guess costs nothing but time.
  const auto backlog = static_cast<std::int64_t>(shared_->tail.pushed.bytes() - shared_->head.popped.bytes());
  const auto idle = static_cast<std::int64_t>(shared_->resident.load(std::memory_order_relaxed)) - backlog -
                    static_cast<std::int64_t>(shared_->lent.load(std::memory_order_relaxed));
  const std::uint64_t there = unused.resident.load(std::memory_order_relaxed);
  if (there == 0 || idle <= static_cast<std::int64_t>(most_idle)) {
    return;
  }
  // First, since who took a chunk for populated that is not any more would be killed at the first touch when there is
  // no memory. The other way round memory is asked for that is there already.
  unused.resident.store(0, std::memory_order_release);
  if (segment_->punch(unused.offset, there)) {
    shared_->resident.fetch_sub(there, std::memory_order_relaxed);
  } else {
    unused.resident.store(there, std::memory_order_relaxed);
  }
}

void chunk_heap::trim_left(std::uint32_t left, std::uint32_t now) const {
  for (std::uint64_t steps = 0; left != now; ++steps) {
    if (steps > shared_->chunk_limit) {
      throw_corrupt("the chain of its chunks has no end");
    }
    chunk& empty = checked(left);
    if (empty.owner.load(std::memory_order_acquire) == 0 && !is_leased(left)) {
      trim(empty);
    }
    left = empty.next.load(std::memory_order_relaxed);
  }
}

}  // namespace shoal::queue
