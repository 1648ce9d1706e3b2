#include "queue/shared_queue.hpp"

#include <unistd.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstring>
#include <limits>
#include <new>
#include <stdexcept>
#include <utility>

#include "os/memfd.hpp"
#include "shoal/error.hpp"

namespace shoal::queue {
namespace {

/// A segment can use no more than the machine's memory; so much address space is set aside for it, at 64 GiB at the
/// most.
std::size_t default_reserve() {
  const auto pages = static_cast<std::size_t>(::sysconf(_SC_PHYS_PAGES));
  return std::min(std::bit_ceil(pages * memory::page_size), std::size_t{64} << 30);
}

constexpr std::size_t chunk_limit_for(std::size_t reserve) { return reserve / chunk_size; }

constexpr std::size_t first_chunk_offset(std::size_t chunk_limit) {
  return round_up(table_offset + chunk_limit * sizeof(chunk), memory::page_size);
}

memory::segment reserve_segment(const queue_options& options) {
  constexpr std::size_t least = std::size_t{1} << 24;
  if (options.max_bytes != 0) {
    const std::size_t reserve = round_up(options.max_bytes, memory::page_size);
    const std::size_t needed = first_chunk_offset(chunk_limit_for(reserve)) + chunk_size;
    if (reserve < needed) {
      throw std::invalid_argument("a queue of at most " + std::to_string(options.max_bytes) +
                                  " bytes was asked for; the smallest has " + std::to_string(needed));
    }
    return memory::segment::create(memory::segment_kind::queue, options.label, reserve);
  }
  for (std::size_t reserve = default_reserve();; reserve /= 2) {
    try {
      return memory::segment::create(memory::segment_kind::queue, options.label, reserve);
    } catch (const std::system_error& failure) {
      // RLIMIT_AS, or thousands of queues: make do with less address space, down to what is still a useful queue.
      if (failure.code() != std::errc::not_enough_memory || reserve <= least) {
        throw;
      }
    }
  }
}

os::event_fd attach_readiness(int descriptor) {
  os::file_descriptor fd = os::file_descriptor::duplicate(descriptor);
  char target[64] = {};
  const std::string link = "/proc/self/fd/" + std::to_string(descriptor);
  const ssize_t length = ::readlink(link.c_str(), target, sizeof target - 1);
  if (length < 0 || std::strcmp(target, "anon_inode:[eventfd]") != 0) {
    throw error(errc::not_a_segment,
                link + " is " + (length < 0 ? "unreadable" : target) +
                    ", expected the eventfd of a Shoal queue. Pass the second of its descriptors.");
  }
  return os::event_fd(std::move(fd));
}

[[noreturn]] void throw_corrupt(const std::string& found) {
  throw error(errc::corrupt_record, "the shared memory of the queue has been written over: " + found +
                                        ". The queue cannot be used any further; make a new one.");
}

// Free chunks looked at for a large record before a new one is made.
constexpr int most_passed_over = 16;

// How long a call waits for a lock before its caller may look at signals.
constexpr std::chrono::milliseconds lock_patience{100};

sync::lock_result lock_patiently(sync::robust_mutex& mutex, deadline until) {
  sync::lock_result result = mutex.spin_lock();
  if (result == sync::lock_result::timed_out && until != no_waiting) {
    result = mutex.lock_until(std::min(until, std::chrono::steady_clock::now() + lock_patience));
  }
  if (result == sync::lock_result::unusable) {
    throw_corrupt("one of its locks makes no sense");
  }
  return result;
}

}  // namespace

// Holds one of the two locks, if the attempt succeeded.
class shared_queue::guard {
 public:
  guard(sync::robust_mutex& mutex, sync::lock_result result)
      : mutex_(result == sync::lock_result::timed_out || result == sync::lock_result::unusable ? nullptr : &mutex) {}
  guard(guard&& other) noexcept : mutex_(std::exchange(other.mutex_, nullptr)) {}
  guard& operator=(guard&&) = delete;
  ~guard() {
    if (mutex_ != nullptr) {
      mutex_->unlock();
    }
  }
  explicit operator bool() const noexcept { return mutex_ != nullptr; }

 private:
  sync::robust_mutex* mutex_;
};

// Recovery comes before anybody reads what the lock guards. Then all sleepers are woken: a holder that died between its
// commit and its wake-up has left some behind.
shared_queue::guard shared_queue::tail_guard(sync::lock_result result) {
  sync::robust_mutex& mutex = control_->tail.lock;
  if (result == sync::lock_result::owner_died) {
    recover_tail();
    mutex.consistent();
    items().notify(std::numeric_limits<int>::max());
  }
  return {mutex, result};
}

shared_queue::guard shared_queue::spin_lock_tail() { return tail_guard(control_->tail.lock.spin_lock()); }

shared_queue::guard shared_queue::lock_tail(deadline until) {
  return tail_guard(lock_patiently(control_->tail.lock, until));
}

shared_queue::guard shared_queue::lock_head(deadline until) {
  sync::robust_mutex& mutex = control_->head.lock;
  const sync::lock_result result = lock_patiently(mutex, until);
  if (result == sync::lock_result::owner_died) {
    recover_head();
    mutex.consistent();
    space().notify(std::numeric_limits<int>::max());
  }
  return {mutex, result};
}

shared_queue::shared_queue(const queue_options& options)
    : segment_(reserve_segment(options)),
      control_(segment_.at<control>(control_offset)),
      table_(segment_.at<chunk>(table_offset)) {
  const std::size_t limit = chunk_limit_for(segment_.size());
  const std::size_t data = first_chunk_offset(limit);
  segment_.grow(data + chunk_size);
  segment_.populate(table_offset, memory::page_size);
  segment_.populate(data, memory::page_size);
  control_->capacity = options.capacity;
  control_->chunk_limit = limit;
  control_->tail.lock.initialize();
  control_->head.lock.initialize();
  control_->tail.chunk_count.store(1, std::memory_order_relaxed);
  table_[0].offset = data;
  table_[0].size = chunk_size;
}

shared_queue::shared_queue(queue_descriptors descriptors)
    : segment_(memory::segment::attach(descriptors.segment, memory::segment_kind::queue)),
      readiness_(attach_readiness(descriptors.readiness)),
      control_(segment_.at<control>(control_offset)),
      table_(segment_.at<chunk>(table_offset)) {
  const std::size_t least = first_chunk_offset(chunk_limit_for(segment_.size())) + chunk_size;
  if (os::file_size(segment_.descriptor()) < least) {
    throw error(errc::truncated_segment, "/proc/self/fd/" + std::to_string(descriptors.segment) +
                                             " is a damaged Shoal queue: the file has " +
                                             std::to_string(os::file_size(segment_.descriptor())) +
                                             " bytes, expected at least " + std::to_string(least) + ".");
  }
  if (control_->chunk_limit != chunk_limit_for(segment_.size())) {
    throw error(errc::truncated_segment, "/proc/self/fd/" + std::to_string(descriptors.segment) +
                                             " is a damaged Shoal queue: its chunk table has " +
                                             std::to_string(control_->chunk_limit) + " entries, expected " +
                                             std::to_string(chunk_limit_for(segment_.size())) + ".");
  }
}

shared_queue::outcome shared_queue::push(encoding tag, std::span<const const_bytes> parts, deadline until) {
  std::size_t size = 0;
  for (const const_bytes part : parts) {
    size += part.size();
  }
  const std::size_t space = space_for(size);
  tail_end& tail = control_->tail;

  const guard lock = lock_tail(until);
  if (!lock) {
    return outcome::busy;
  }
  if (is_closed()) {
    return outcome::closed;
  }
  const std::uint64_t count = tail.pushed.count();
  if (control_->capacity != 0 && count - tail.popped_seen >= control_->capacity) {
    const auto room = [&] {
      tail.popped_seen = popped();
      return tail.popped_seen + control_->capacity - count;
    };
    const std::uint64_t found = room();
    if (found == 0) {
      return outcome::not_now;
    }
    room_(found, room);
  }
  position at = tail.pushed.get();
  const chunk& current = checked_chunk(at.chunk);
  if (at.offset > current.size || current.size - at.offset < space) {
    const std::uint32_t next = chunk_after(at.chunk, space);
    if (at.offset < current.size) {
      *segment_.at<record_header>(current.offset + at.offset) = end_of_chunk;
    }
    at = {next, 0};
  }
  write_record(at, tag, size, parts);
  tail.pushed.prepare({at.chunk, at.offset + space});
  if (control_->polled.load(std::memory_order_relaxed) != 0) {
    raise_readiness();
  }
  tail.pushed.commit(1);  // COMMIT
  return outcome::done;
}

shared_queue::outcome shared_queue::pop(record& out, std::atomic<std::uint64_t>* claim, deadline until) {
  head_end& head = control_->head;

  const guard lock = lock_head(until);
  if (!lock) {
    return outcome::busy;
  }
  const std::uint64_t count = head.popped.count();
  if (count == head.pushed_seen) {
    const bool was_closed = is_closed();  // read first: nothing is pushed after it was set
    const auto arrivals = [&] {
      head.pushed_seen = pushed();
      return head.pushed_seen - count;
    };
    const std::uint64_t found = arrivals();
    if (found == 0) {
      lower_readiness();
      return was_closed ? outcome::closed : outcome::not_now;
    }
    arrivals_(found, arrivals);
  }
  position at = head.popped.get();
  const std::uint32_t left = at.chunk;
  for (std::uint64_t steps = 0; is_end_of_chunk(at); ++steps) {
    if (steps == control_->chunk_limit) {
      throw_corrupt("its chunks end without the record that was counted");
    }
    at = {chunk_at(at.chunk).next.load(std::memory_order_acquire), 0};
  }
  const chunk& current = chunk_at(at.chunk);
  const std::byte* const start = segment_.data() + current.offset + at.offset;
  const record_header header = *reinterpret_cast<const record_header*>(start);
  const std::size_t size = header >> 8;
  if (size > current.size - at.offset - sizeof header) {
    throw_corrupt("the record at byte " + std::to_string(current.offset + at.offset) + " claims " +
                  std::to_string(size) + " bytes, its chunk has " +
                  std::to_string(current.size - at.offset - sizeof header) + " left");
  }
  std::memcpy(out.reset(static_cast<encoding>(header & 0xff), size), start + sizeof header, size);
  head.popped.prepare({at.chunk, at.offset + space_for(size)});
  if (claim != nullptr) {
    claim->store(count + 1, std::memory_order_release);
  }
  head.popped.commit(1);  // COMMIT
  if (at.chunk != left) {
    head.chunk.store(at.chunk, std::memory_order_release);
  }
  if (control_->readiness.load(std::memory_order_relaxed) != readiness_state::lowered && count + 1 == pushed()) {
    lower_readiness();
  }
  return outcome::done;
}

bool shared_queue::close(deadline until) {
  const guard lock = lock_tail(until);
  if (!lock) {
    return false;
  }
  if (control_->polled.load(std::memory_order_relaxed) != 0) {
    raise_readiness();
  }
  control_->closed.store(1, std::memory_order_seq_cst);  // COMMIT
  return true;
}

bool shared_queue::start_polling(deadline until) {
  if (control_->polled.load(std::memory_order_relaxed) != 0) {
    return true;
  }
  const guard lock = lock_tail(until);
  if (!lock) {
    return false;
  }
  if (pushed() != popped() || is_closed()) {
    raise_readiness();
  }
  control_->polled.store(1, std::memory_order_relaxed);  // COMMIT: from now on producers raise
  return true;
}

std::uint64_t shared_queue::size() const noexcept {
  std::uint64_t taken = popped();
  for (;;) {
    const std::uint64_t put = pushed();
    const std::uint64_t taken_now = popped();
    if (taken_now == taken) {
      return put - taken;  // both counts were true together when `put` was read
    }
    taken = taken_now;
  }
}

std::uint64_t shared_queue::free_slots() const noexcept {
  const std::uint64_t used = size();
  return used < capacity() ? capacity() - used : 0;
}

// The chunk that a record goes to which has no room left in `current`, the tail's: the first free one that is large
// enough, else a new one. Free ones that are too small are passed over and stay behind, empty; so the ring turns, and
// where sizes vary nothing is made anew that is there already.
std::uint32_t shared_queue::chunk_after(std::uint32_t current, std::size_t space) {
  // Acquire: what consumers read from a chunk before they left it comes before what is written to it now.
  const std::uint32_t first_used = control_->head.chunk.load(std::memory_order_acquire);
  std::uint32_t last = current;
  for (int step = 0; step < most_passed_over; ++step) {
    const std::uint32_t next = chunk_at(last).next.load(std::memory_order_relaxed);
    if (next == first_used) {
      break;
    }
    if (checked_chunk(next).size >= space) {
      return next;
    }
    *segment_.at<record_header>(chunk_at(next).offset) = end_of_chunk;
    last = next;
  }
  return grow(last, space);
}

// Links a new chunk into the ring, behind `last`.
std::uint32_t shared_queue::grow(std::uint32_t last, std::size_t space) {
  tail_end& tail = control_->tail;
  const std::uint32_t index = tail.chunk_count.load(std::memory_order_relaxed);
  if (index == 0 || index >= control_->chunk_limit) {
    throw std::bad_alloc();
  }
  // Large chunks come in steps of a quarter of a power of two, so that the free ones fit records of about the same
  // size.
  const std::size_t step = std::max(std::bit_floor(space) / 4, memory::page_size);
  const std::size_t size = space <= chunk_size ? chunk_size : round_up(space, step);
  const chunk& newest = chunk_at(index - 1);
  const std::uint64_t offset = newest.offset + newest.size;
  segment_.grow(offset + size);
  segment_.populate(offset, size);
  const std::size_t entry = table_offset + index * sizeof(chunk);
  segment_.populate(entry / memory::page_size * memory::page_size, memory::page_size);

  chunk& made = chunk_at(index);
  made.offset = offset;
  made.size = size;
  made.next.store(chunk_at(last).next.load(std::memory_order_relaxed), std::memory_order_relaxed);
  tail.grown_behind = last;
  chunk_at(last).next.store(index, std::memory_order_release);   // COMMIT: the chunk is part of the ring
  tail.chunk_count.store(index + 1, std::memory_order_release);  // recover_tail does this for the dead
  return index;
}

void shared_queue::write_record(const position& at, encoding tag, std::size_t size,
                                std::span<const const_bytes> parts) const {
  std::byte* to = segment_.data() + chunk_at(at.chunk).offset + at.offset;
  *reinterpret_cast<record_header*>(to) = record_header{size} << 8 | static_cast<std::uint8_t>(tag);
  to += sizeof(record_header);
  for (const const_bytes part : parts) {
    if (!part.empty()) {
      std::memcpy(to, part.data(), part.size());
      to += part.size();
    }
  }
}

// Under the tail lock, before a commit.
void shared_queue::raise_readiness() {
  if (control_->readiness.load(std::memory_order_relaxed) != readiness_state::raised) {
    control_->readiness.store(readiness_state::changing, std::memory_order_relaxed);
    readiness_.raise();
    control_->readiness.store(readiness_state::raised, std::memory_order_release);
  }
}

// Under the head lock, with the queue seen empty.
void shared_queue::lower_readiness() {
  if (control_->readiness.load(std::memory_order_relaxed) == readiness_state::lowered) {
    return;
  }
  // Without waiting: a producer stopped inside its critical section must not stop consumers that have what they wanted.
  // It stays raised then, and the next look at the empty queue lowers it.
  const guard lock = spin_lock_tail();
  if (!lock || pushed() != popped() || is_closed()) {
    return;
  }
  control_->readiness.store(readiness_state::changing, std::memory_order_relaxed);
  readiness_.lower();
  control_->readiness.store(readiness_state::lowered, std::memory_order_release);
}

// The holder died. All it may have left is a chunk that is in the ring and not counted yet.
void shared_queue::recover_tail() {
  tail_end& tail = control_->tail;
  const std::uint32_t counted = tail.chunk_count.load(std::memory_order_relaxed);
  if (chunk_at(tail.grown_behind).next.load(std::memory_order_relaxed) == counted) {
    tail.chunk_count.store(counted + 1, std::memory_order_relaxed);
  }
}

// The holder died. It may have moved to another chunk without telling the producers.
void shared_queue::recover_head() {
  head_end& head = control_->head;
  head.chunk.store(head.popped.get().chunk, std::memory_order_release);
}

// Whether no record is at a place where, unless the queue is empty, one begins or its chunk ends.
bool shared_queue::is_end_of_chunk(const position& at) const {
  const chunk& current = checked_chunk(at.chunk);
  if (at.offset > current.size || at.offset % sizeof(record_header) != 0) {
    throw_corrupt("a record begins at byte " + std::to_string(at.offset) + " of a chunk of " +
                  std::to_string(current.size));
  }
  return at.offset == current.size || *segment_.at<record_header>(current.offset + at.offset) == end_of_chunk;
}

chunk& shared_queue::checked_chunk(std::uint32_t index) const {
  if (index >= control_->chunk_limit || chunk_at(index).offset % memory::page_size != 0 ||
      chunk_at(index).size % memory::page_size != 0 || chunk_at(index).offset > segment_.size() ||
      chunk_at(index).size > segment_.size() - chunk_at(index).offset) {
    throw_corrupt("chunk " + std::to_string(index) + " lies outside its memory");
  }
  return chunk_at(index);
}

}  // namespace shoal::queue
