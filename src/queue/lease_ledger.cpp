#include "queue/lease_ledger.hpp"

#include <unistd.h>

#include <algorithm>
#include <new>
#include <utility>

#include "os/death_notice.hpp"
#include "queue/holder.hpp"

namespace shoal::queue {
namespace {

bool is_out(std::uint64_t word) { return word != free_lease && word != returned_lease; }  // or abandoned

/// Asks the kernel once for each of a row of leases that one holder has.
class life_check {
 public:
  explicit life_check(int segment) : segment_(segment) {}

  bool operator()(std::uint64_t holder) {
    if (holder != last_) {
      last_ = holder;
      alive_ = holder != abandoned_lease && holder::is_alive(segment_, holder);
    }
    return alive_;
  }

 private:
  int segment_;
  std::uint64_t last_ = 0;
  bool alive_ = false;
};

}  // namespace

lease_ledger::lease_ledger(const memory::segment& segment, control& shared) noexcept
    : segment_(&segment),
      shared_(&shared),
      state_(&shared.ledger),
      limit_(static_cast<std::uint32_t>(places(segment.size()).lease_limit)),
      entries_(segment.at<ledger_entry>(places(segment.size()).ledger_offset)) {}

std::uint32_t lease_ledger::used() const noexcept {
  return std::min(state_->used.load(std::memory_order_relaxed), limit_);
}

std::uint32_t lease_ledger::find_free() {
  const auto is_free = [&](std::uint32_t index) {
    return entries_[index].word.load(std::memory_order_acquire) == free_lease;
  };
  // A few looks at those in use; searching all of them every time would make a thousand leases slow.
  constexpr int few = 8;
  for (int i = 0; i < few && used() != 0; ++i) {
    state_->cursor = (state_->cursor + 1) % used();
    if (is_free(state_->cursor)) {
      return state_->cursor;
    }
  }
  if (used() < limit_) {
    const std::uint32_t index = used();
    const std::size_t offset = places(segment_->size()).ledger_offset + index * sizeof(ledger_entry);
    if (offset % memory::page_size == 0) {
      segment_->grow(offset + memory::page_size);
      segment_->populate(offset, memory::page_size);
    }
    state_->used.store(index + 1, std::memory_order_relaxed);
    return index;
  }
  for (std::uint32_t index = 0; index < limit_; ++index) {
    if (is_free(index)) {
      return index;
    }
  }
  throw std::bad_alloc();
}

void lease_ledger::write(std::uint32_t index, std::uint64_t ticket, const position& at, std::uint64_t owner) noexcept {
  ledger_entry& entry = entries_[index];
  entry.ticket = ticket;
  entry.chunk.store(at.chunk, std::memory_order_relaxed);
  entry.offset = at.offset;
  entry.process.store(::getpid(), std::memory_order_relaxed);
  state_->active.fetch_add(1, std::memory_order_relaxed);
  entry.word.store(owner, std::memory_order_release);
}

std::optional<std::uint32_t> lease_ledger::oldest_returned() const noexcept {
  std::optional<std::uint32_t> oldest;
  for (std::uint32_t index = 0; index < used(); ++index) {
    const ledger_entry& entry = entries_[index];
    if (entry.word.load(std::memory_order_relaxed) == returned_lease &&
        (!oldest || entry.ticket < entries_[*oldest].ticket)) {
      oldest = index;
    }
  }
  return oldest;
}

void lease_ledger::take_returned(std::uint32_t index, std::uint64_t owner) noexcept {
  if (owner != free_lease) {
    entries_[index].process.store(::getpid(), std::memory_order_relaxed);
    state_->active.fetch_add(1, std::memory_order_relaxed);
  }
  entries_[index].word.store(owner, std::memory_order_release);    // COMMIT
  shared_->head.returned.fetch_sub(1, std::memory_order_seq_cst);  // recover() does this for the dead
}

void lease_ledger::put_back(std::uint32_t index) noexcept {
  entries_[index].word.store(returned_lease, std::memory_order_release);  // COMMIT
  shared_->head.returned.fetch_add(1, std::memory_order_seq_cst);         // recover() does this for the dead
}

std::uint32_t lease_ledger::drop_returned() noexcept {
  std::uint32_t count = 0;
  for (std::uint32_t index = 0; index < used(); ++index) {
    if (entries_[index].word.load(std::memory_order_relaxed) == returned_lease) {
      take_returned(index, free_lease);
      ++count;
    }
  }
  return count;
}

bool lease_ledger::has_dead_holders() noexcept {
  life_check is_alive(segment_->descriptor());
  std::uint32_t active = 0;
  std::uint32_t end = 0;
  bool found = false;
  for (std::uint32_t index = 0; index < used(); ++index) {
    const std::uint64_t word = entries_[index].word.load(std::memory_order_acquire);
    if (word != free_lease) {
      end = index + 1;
    }
    if (is_out(word)) {
      ++active;
      found = found || !is_alive(word);
    }
  }
  state_->active.store(active, std::memory_order_relaxed);
  state_->used.store(end, std::memory_order_relaxed);
  return found;
}

bool lease_ledger::has_dying_holders() const noexcept {
  std::int32_t last = 0;  // mostly all are of one process
  return std::any_of(entries_, entries_ + used(), [&](const ledger_entry& entry) {
    if (!is_out(entry.word.load(std::memory_order_acquire))) {
      return false;
    }
    const std::int32_t process = entry.process.load(std::memory_order_relaxed);
    return process != std::exchange(last, process) && os::is_dying(process);
  });
}

std::uint32_t lease_ledger::put_back_of_the_dead() noexcept {
  life_check is_alive(segment_->descriptor());
  std::uint32_t count = 0;
  for (std::uint32_t index = 0; index < used(); ++index) {
    const std::uint64_t word = entries_[index].word.load(std::memory_order_acquire);
    if (is_out(word) && !is_alive(word)) {
      put_back(index);
      ++count;
    }
  }
  return count;
}

void lease_ledger::recover() noexcept {
  const std::uint64_t popped = shared_->head.popped.count();
  std::uint32_t returned = 0;
  for (std::uint32_t index = 0; index < used(); ++index) {
    ledger_entry& entry = entries_[index];
    const std::uint64_t word = entry.word.load(std::memory_order_acquire);
    if (is_out(word) && entry.ticket >= popped) {
      entry.word.store(free_lease, std::memory_order_relaxed);
    } else if (word == returned_lease) {
      ++returned;
    }
  }
  shared_->head.returned.store(returned, std::memory_order_seq_cst);
}

std::uint32_t lease_ledger::count() const noexcept {
  return static_cast<std::uint32_t>(std::count_if(entries_, entries_ + used(), [](const ledger_entry& entry) {
    return is_out(entry.word.load(std::memory_order_relaxed));
  }));
}

}  // namespace shoal::queue
