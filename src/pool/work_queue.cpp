#include "shoal/work_queue.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <utility>
#include <vector>

#include "pool/ticket_window.hpp"
#include "pool/worker_slots.hpp"
#include "shoal/error.hpp"

namespace shoal {
namespace {

using std::chrono::steady_clock;

/// The last bytes of every record in the queue of results. Behind the outcome's own, which keep the place that large
/// buffers in them need.
struct outcome_trailer {
  std::uint64_t ticket;
  std::uint32_t slot;
  outcome::kind kind;
  std::uint16_t note;
};
static_assert(sizeof(outcome_trailer) == 16);

const_bytes bytes_of(const outcome_trailer& trailer) { return std::as_bytes(std::span(&trailer, 1)); }

outcome read_outcome(encoding tag, const_bytes bytes) {
  outcome_trailer trailer{};
  if (bytes.size() < sizeof trailer) {
    throw error(errc::corrupt_record, "an outcome of " + std::to_string(bytes.size()) +
                                          " bytes came out of a work queue; the shortest has " +
                                          std::to_string(sizeof trailer));
  }
  const std::size_t size = bytes.size() - sizeof trailer;
  std::memcpy(&trailer, bytes.data() + size, sizeof trailer);
  return {.what = trailer.kind,
          .note = trailer.note,
          .slot = trailer.slot,
          .ticket = trailer.ticket,
          .tag = tag,
          .bytes = bytes.first(size)};
}

constexpr std::size_t most_together = 4096;

queue_options labelled(std::string label) { return {.label = std::move(label)}; }

std::int64_t nanoseconds_now() { return steady_clock::now().time_since_epoch().count(); }

[[noreturn]] void throw_closed() { throw error(errc::closed, "the work queue was closed and takes no more tasks"); }

// Written by one process at a time, so that nothing is lost by reading first.
template <class T>
void add(std::atomic<T>& count, T what) {
  count.store(count.load(std::memory_order_relaxed) + what, std::memory_order_relaxed);
}

// The time for which it lives is spent waiting for tasks. Meanwhile `idle` is negative, the moment at which the wait
// has begun being subtracted: so a reader has both the past and the present in one word.
class idle_time {
 public:
  explicit idle_time(worker_slot& slot) : idle_(slot.idle) { add(idle_, -nanoseconds_now()); }
  idle_time(const idle_time&) = delete;
  idle_time& operator=(const idle_time&) = delete;
  ~idle_time() { add(idle_, nanoseconds_now()); }

  [[nodiscard]] static std::int64_t until_now(const worker_slot& slot) {
    const std::int64_t idle = slot.idle.load(std::memory_order_relaxed);
    return idle < 0 ? idle + nanoseconds_now() : idle;
  }

  // Of a worker that may have died while it was waiting.
  static void end(worker_slot& slot) { slot.idle.store(until_now(slot), std::memory_order_relaxed); }

 private:
  std::atomic<std::int64_t>& idle_;
};

// Announces a task that was taken. @return false if it was called off: it must not be begun.
//
// The word is announced before the mark is looked at, and the owner sets the mark before it looks at the word. So one
// of them sees the other; and if the owner finds the word tentative still, the exchange decides.
bool begin_running(const worker_slots& slots, worker_slot& mine, std::uint64_t ticket) {
  mine.since.store(0, std::memory_order_release);
  std::uint64_t announced = (ticket + 1) | worker_slot::tentative;
  mine.running.store(announced, std::memory_order_seq_cst);
  if (!slots.is_called_off(ticket) &&
      mine.running.compare_exchange_strong(announced, ticket + 1, std::memory_order_seq_cst)) {
    return true;
  }
  mine.running.store(0, std::memory_order_seq_cst);
  return false;
}

// From here on the task cannot be called off. If it was, waits to be killed.
void finish_running(worker_slot& mine, std::uint64_t ticket) {
  std::uint64_t found = ticket + 1;
  if (!mine.running.compare_exchange_strong(found, 0, std::memory_order_seq_cst) &&
      (found & worker_slot::called_off) != 0) {
    for (;;) {
      ::pause();
    }
  }
}

}  // namespace

class work_queue::impl {
 public:
  impl(std::size_t slots, const std::string& label)
      : slots_(worker_slots::create(slots, label)),
        tasks_(labelled(label + ".tasks")),
        results_(labelled(label + ".results")) {}

  explicit impl(const work_queue_descriptors& descriptors)
      : slots_(worker_slots::attach(descriptors.claims)),
        tasks_(byte_queue::attach(descriptors.tasks)),
        results_(byte_queue::attach(descriptors.results)) {}

  [[nodiscard]] const worker_slots& slots() const noexcept { return slots_; }
  [[nodiscard]] const byte_queue& tasks() const noexcept { return tasks_; }
  [[nodiscard]] byte_queue& tasks() noexcept { return tasks_; }
  [[nodiscard]] byte_queue& results() noexcept { return results_; }

  std::uint64_t submit(encoding tag, std::span<const const_bytes> parts) {
    const std::lock_guard lock(mutex_);
    const std::uint64_t ticket = unsettled_.next();  // is tasks_.pushed(), for only these functions push
    unsettled_.issue(1);
    try {
      queue_status status = queue_status::busy;
      do {  // it has no bound, and can be full for no longer than a lock is held
        status = tasks_.push(tag, parts);
      } while (status != queue_status::ok && status != queue_status::closed);
      if (status == queue_status::closed) {
        throw_closed();
      }
    } catch (...) {
      unsettled_.withdraw(1);
      throw;
    }
    return ticket;
  }

  queue_status submit_many(std::span<const outgoing_record> records, std::size_t& submitted, deadline until) {
    std::unique_lock lock(mutex_, std::defer_lock);
    if (until != no_waiting) {
      lock.lock();
    } else if (!lock.try_lock()) {
      return queue_status::busy;
    }
    unsettled_.issue(records.size());
    std::size_t pushed = 0;
    const auto settle_accounts = [&] {
      submitted += pushed;
      unsettled_.withdraw(records.size() - pushed);
    };
    queue_status status = queue_status::busy;
    try {
      status = tasks_.push_many(records, pushed, until);
    } catch (...) {
      settle_accounts();
      throw;
    }
    settle_accounts();
    if (status == queue_status::closed) {
      throw_closed();
    }
    return status;
  }

  [[nodiscard]] std::uint64_t next_ticket() const noexcept {
    const std::lock_guard lock(mutex_);
    return unsettled_.next();
  }

  // Leaves out what is said of tickets that have an outcome.
  void settle(std::vector<outcome>& received) {
    const std::lock_guard lock(mutex_);
    std::erase_if(received, [&](const outcome& each) {
      return each.what != outcome::kind::worker_lost && !settle_locked(each.ticket);
    });
  }

  void lost(std::size_t slot) {
    {
      const std::lock_guard lock(mutex_);
      worker_slot::word& dead = slots_[slot].claim;
      if (!is_valid(slot, dead.load(std::memory_order_acquire))) {
        dead.store(0, std::memory_order_relaxed);
      }
    }
    // Without the mutex: a worker that was stopped may hold this up, which is not to hold up everybody else.
    send({.ticket = 0, .slot = static_cast<std::uint32_t>(slot), .kind = outcome::kind::worker_lost, .note = 0}, {},
         encoding::raw);
  }

  std::optional<std::uint64_t> reclaim(std::size_t slot) {
    const std::lock_guard lock(mutex_);
    worker_slot& dead = slots_[slot];
    dead.running.store(0, std::memory_order_relaxed);
    dead.since.store(0, std::memory_order_relaxed);
    idle_time::end(dead);
    const std::uint64_t claim = dead.claim.exchange(0, std::memory_order_relaxed);
    if (claim != 0 && settle_locked(claim - 1)) {
      return claim - 1;
    }
    return std::nullopt;
  }

  // The mark first, then a look at who is running it: see begin_running.
  called_off call_off(std::uint64_t ticket, bool condemning) {
    const std::lock_guard lock(mutex_);
    bool set_now = false;
    call_off_result otherwise = call_off_result::withdrawn;
    switch (unsettled_.of(ticket)) {
      case ticket_window::state::settled:
        return {.result = call_off_result::too_late};
      case ticket_window::state::called_off:
        break;
      case ticket_window::state::open:
        if (!slots_.call_off(ticket)) {
          otherwise = call_off_result::too_many;
          break;
        }
        unsettled_.call_off(ticket);
        set_now = true;
    }
    const called_off found = look_at_workers(ticket, otherwise, condemning);
    if (set_now && found.result == call_off_result::running) {  // nobody looks at the mark any more
      slots_.forget(ticket);
      unsettled_.reopen(ticket);
    }
    return found;
  }

  [[nodiscard]] std::size_t outstanding() const noexcept {
    const std::lock_guard lock(mutex_);
    return unsettled_.count();
  }

  // A record of the outcome's own bytes and the trailer. The queue has no bound: it can be full for no longer than a
  // lock is held.
  void send(const outcome_trailer& trailer, std::span<const const_bytes> parts, encoding tag) {
    thread_local std::vector<const_bytes> all;  // a worker is a thread
    all.assign(parts.begin(), parts.end());
    all.push_back(bytes_of(trailer));
    queue_status status = queue_status::busy;
    do {
      status = results_.push(tag, all);
    } while (status != queue_status::ok && status != queue_status::closed);
  }

 private:
  bool settle_locked(std::uint64_t ticket) {
    const ticket_window::state before = unsettled_.settle(ticket);
    if (before == ticket_window::state::called_off) {
      slots_.forget(ticket);
    }
    return before != ticket_window::state::settled;
  }

  called_off look_at_workers(std::uint64_t ticket, call_off_result otherwise, bool condemning) {
    for (std::size_t slot = 0; slot < slots_.count(); ++slot) {
      worker_slot::word& running = slots_[slot].running;
      std::uint64_t found = (ticket + 1) | worker_slot::tentative;
      if (running.compare_exchange_strong(found, found | worker_slot::called_off, std::memory_order_seq_cst)) {
        return {.result = call_off_result::withdrawn};
      }
      if (found == ticket + 1 && condemning) {
        running.compare_exchange_strong(found, found | worker_slot::called_off, std::memory_order_seq_cst);
      }
      if (found == ticket + 1 || found == ((ticket + 1) | worker_slot::called_off)) {
        // What was being run when the exchange came may have been finished by it.
        const bool is_condemned = (running.load(std::memory_order_seq_cst) & worker_slot::called_off) != 0;
        if (is_condemned || !condemning) {
          return {.result = call_off_result::running, .slot = slot};
        }
      }
    }
    return {.result = otherwise};
  }

  // Whether the dead worker of `slot`, whose last word was `claim`, has taken that task out of the queue.
  //
  // If it was killed just before, the task was there for others. One that took it has, or had, the same claim: it has
  // it until it takes another task, and by then its outcome of this one is among the results, ahead of the notice that
  // the caller is about to push. In the first case the claim is void. In the second it looks valid, but at the notice
  // the ticket will be settled.
  [[nodiscard]] bool is_valid(std::size_t slot, std::uint64_t claim) const {
    if (tasks_.popped() < claim) {
      return false;
    }
    for (std::size_t other = 0; other < slots_.count(); ++other) {
      // Acquire: a later claim than this one comes after the outcome that its worker pushed.
      if (other != slot && slots_[other].claim.load(std::memory_order_acquire) == claim) {
        return false;
      }
    }
    return true;
  }

  worker_slots slots_;
  byte_queue tasks_;
  byte_queue results_;

  mutable std::mutex mutex_;  // orders submissions with their tickets; guards what follows. The owner's alone.
  ticket_window unsettled_;
};

work_queue::work_queue(std::size_t slot_count, const std::string& label)
    : impl_(std::make_unique<impl>(slot_count, label)) {}
work_queue::work_queue(std::unique_ptr<impl> state) noexcept : impl_(std::move(state)) {}
work_queue::work_queue(work_queue&&) noexcept = default;
work_queue& work_queue::operator=(work_queue&&) noexcept = default;
work_queue::~work_queue() = default;

work_queue work_queue::attach(const work_queue_descriptors& descriptors) {
  return work_queue(std::make_unique<impl>(descriptors));
}

std::size_t work_queue::slot_count() const noexcept { return impl_->slots().count(); }

work_queue_descriptors work_queue::descriptors() const {
  return {impl_->tasks().descriptors(), impl_->results().descriptors(), impl_->slots().descriptor()};
}

std::uint64_t work_queue::submit(encoding tag, std::span<const const_bytes> parts) { return impl_->submit(tag, parts); }

queue_status work_queue::submit_many(std::span<const outgoing_record> tasks, std::size_t& submitted, deadline until) {
  return impl_->submit_many(tasks, submitted, until);
}

std::uint64_t work_queue::next_ticket() const noexcept { return impl_->next_ticket(); }

queue_status work_queue::next(outcome_batch& out, std::size_t most, deadline until) {
  out.small_.clear();
  out.outcomes_.clear();
  most = std::min(most, most_together);
  out.outcomes_.reserve(most);  // what has been taken must not get lost for want of memory
  const queue_status status = impl_->results().pop_many(out.small_, out.large_, most, until);
  if (out.large_.in_place()) {
    out.outcomes_.push_back(read_outcome(out.large_.tag(), out.large_.bytes()));
  }
  for (std::size_t i = 0; i < out.small_.size(); ++i) {
    const record_batch::entry entry = out.small_[i];
    out.outcomes_.push_back(read_outcome(entry.tag, entry.bytes));
  }
  if (!out.outcomes_.empty()) {
    impl_->settle(out.outcomes_);
  }
  return status;
}

void work_queue::lost(std::size_t slot) { impl_->lost(slot); }
std::optional<std::uint64_t> work_queue::reclaim(std::size_t slot) { return impl_->reclaim(slot); }
work_queue::called_off work_queue::call_off(std::uint64_t ticket) { return impl_->call_off(ticket, true); }
work_queue::called_off work_queue::withdraw(std::uint64_t ticket) { return impl_->call_off(ticket, false); }
void work_queue::close() { impl_->tasks().close(); }
std::size_t work_queue::pending() const noexcept { return impl_->tasks().size(); }
std::size_t work_queue::outstanding() const noexcept { return impl_->outstanding(); }

slot_account work_queue::account(std::size_t slot) const {
  const worker_slot& of = impl_->slots()[slot];
  // In this order: `since` is reset before `running` changes, so it is never that of a task before.
  slot_account found;
  const std::uint64_t word = of.running.load(std::memory_order_acquire);
  const std::uint64_t running = word & ~(worker_slot::called_off | worker_slot::tentative);
  found.condemned = (word & worker_slot::called_off) != 0 && (word & worker_slot::tentative) == 0;
  const std::int64_t since = of.since.load(std::memory_order_acquire);
  if (running != 0) {
    found.running = running - 1;
    // Of a task after it, perhaps; then it is later, which does no harm.
    found.since = steady_clock::time_point(std::chrono::nanoseconds(since));
  }
  found.finished = of.finished.load(std::memory_order_relaxed);
  found.idle = std::chrono::nanoseconds(idle_time::until_now(of));
  found.bytes_in = of.bytes_in.load(std::memory_order_relaxed);
  found.bytes_out = of.bytes_out.load(std::memory_order_relaxed);
  return found;
}

queue_status work_queue::take(std::size_t slot, taken_task& out, deadline until) {
  worker_slot& mine = impl_->slots()[slot];
  for (;;) {
    queue_status status = impl_->tasks().borrow(out.record_, mine.claim, no_waiting);
    if (status != queue_status::ok && until != no_waiting && status != queue_status::closed) {
      const idle_time waiting(mine);
      status = impl_->tasks().borrow(out.record_, mine.claim, until);
    }
    if (status != queue_status::ok) {
      return status;
    }
    out.ticket_ = mine.claim.load(std::memory_order_relaxed) - 1;
    add(mine.bytes_in, std::uint64_t{out.bytes().size()});
    if (begin_running(impl_->slots(), mine, out.ticket_)) {
      return status;
    }
    impl_->send(
        {.ticket = out.ticket_, .slot = static_cast<std::uint32_t>(slot), .kind = outcome::kind::called_off, .note = 0},
        {}, encoding::raw);
  }
}

void work_queue::tell_begin(std::size_t slot) {
  impl_->slots()[slot].since.store(nanoseconds_now(), std::memory_order_release);
}

void work_queue::finish(std::size_t slot, std::uint64_t ticket, encoding tag, std::span<const const_bytes> parts,
                        std::uint16_t note) {
  worker_slot& mine = impl_->slots()[slot];
  finish_running(mine, ticket);
  // Counted before: whoever has the outcome finds it counted.
  std::uint64_t size = 0;
  for (const const_bytes part : parts) {
    size += part.size();
  }
  add(mine.bytes_out, size);
  add(mine.finished, std::uint64_t{1});
  try {
    impl_->send(
        {.ticket = ticket, .slot = static_cast<std::uint32_t>(slot), .kind = outcome::kind::finished, .note = note},
        parts, tag);
  } catch (...) {
    mine.finished.fetch_sub(1, std::memory_order_relaxed);
    mine.bytes_out.fetch_sub(size, std::memory_order_relaxed);
    throw;
  }
}

}  // namespace shoal
