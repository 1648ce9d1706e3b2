// The owner's end of a pool's queue: how outcomes reach those who wait for them.

#include <Python.h>
#include <nanobind/nanobind.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <utility>

#include "codec.hpp"
#include "errors.hpp"
#include "os/forks.hpp"
#include "os/futex.hpp"
#include "pickler.hpp"
#include "pool_queue.hpp"
#include "shoal/error.hpp"

namespace nb = nanobind;

namespace shoal::python {
namespace {

constexpr std::size_t most_outcomes = 256;  // are received together

}  // namespace

/// A thread that waits for a job.
class pool_queue::attendance {
 public:
  explicit attendance(pool_queue& queue) : queue_(queue) { ++queue_.attending_; }
  attendance(const attendance&) = delete;
  attendance& operator=(const attendance&) = delete;
  ~attendance() {
    if (--queue_.attending_ == 0 && queue_.expects_something()) {
      queue_.expect();
    }
  }

 private:
  pool_queue& queue_;
};

/// The thread that receives.
class pool_queue::reception {
 public:
  explicit reception(pool_queue& queue) : queue_(queue) { queue_.receiving_ = true; }
  reception(const reception&) = delete;
  reception& operator=(const reception&) = delete;
  ~reception() {
    queue_.receiving_ = false;
    queue_.tell_followers();
  }

 private:
  pool_queue& queue_;
};

void pool_queue::check_owner() const {
  if (os::generation() != generation_) {
    throw std::runtime_error("this result belongs to another process, of which this one is a fork; get it there");
  }
}

void pool_queue::wait_for(nb::handle job, deadline until) {
  check_owner();
  const pool_job& awaited = job_of(job);
  const attendance here(*this);
  bool in_time = true;
  while (in_time && !awaited.is_ready()) {
    if (receiving_) {
      in_time = follow(until);
    } else {
      const reception mine(*this);
      in_time = receive(&awaited, until);
    }
  }
}

void pool_queue::receive_unattended() {
  if (receiving_) {
    (void)follow(forever);
  } else {
    const reception mine(*this);
    (void)receive(nullptr, forever);
  }
}

void pool_queue::look() {
  check_owner();
  if (!receiving_) {
    const reception mine(*this);
    (void)receive(nullptr, no_waiting);
  }
}

// @return false if the time is over.
bool pool_queue::receive(const pool_job* awaited, deadline until) {
  for (;;) {
    deliver_batch();
    tell();
    // What dies with a pool, and may call this one: after everything else.
    std::vector<nb::object> unneeded = std::exchange(unneeded_, {});
    unneeded.clear();
    if (std::exchange(some_ended_, false)) {
      tell_followers();
    }
    if (room_wanted_ && has_room()) {
      room_wanted_ = false;
      crew.attr("_some_room")();
    }
    const bool enough = awaited != nullptr ? awaited->is_ready() : attending_ > 0 || !expects_something();
    if (std::exchange(woken_, false) || enough) {
      return true;
    }
    delivered_ = 0;
    queue_status status = queue_.next(batch_, most_outcomes, no_waiting);
    if (goes_on(status, until)) {
      status = wait_for_queue([&](deadline limit) { return queue_.next(batch_, most_outcomes, limit); }, until);
    }
    if (status != queue_status::ok) {
      return false;
    }
  }
}

// Waits until something has changed for threads that would receive. @return false if the time is over.
bool pool_queue::follow(deadline until) {
  const std::uint32_t seen = changes_.load(std::memory_order_relaxed);
  os::futex_result result{};
  ++followers_;
  {
    const released_gil released;
    result = os::futex_wait(changes_, seen, until);
  }
  --followers_;
  if (result == os::futex_result::interrupted) {
    run_signal_handlers();
  }
  return result != os::futex_result::timed_out;
}

void pool_queue::tell_followers() noexcept {
  if (followers_ > 0) {
    changes_.fetch_add(1, std::memory_order_relaxed);
    os::futex_wake(changes_, std::numeric_limits<int>::max());
  }
}

void pool_queue::expect() noexcept {
  if (!watching) {
    watching = true;
    ring();
  }
}

void pool_queue::ring() const noexcept {
  if (bell >= 0) {
    (void)::eventfd_write(bell, 1);
  }
}

// What is not delivered when an exception leaves this comes first next time.
void pool_queue::deliver_batch() {
  while (delivered_ < batch_.size()) {
    const outcome& next = batch_[delivered_];
    switch (next.what) {
      case outcome::kind::finished:
        deliver(next);
        break;
      case outcome::kind::called_off:
        forget(next.ticket);
        break;
      case outcome::kind::worker_lost:
        if (next.slot + 1 == queue_.slots()) {
          woken_ = true;
        } else {
          --notices_;
          lost_.push_back(next.slot);
          ring();
        }
        break;
    }
    ++delivered_;
  }
}

void pool_queue::deliver(const outcome& received) {
  const task_entry* const found = find(received.ticket);
  if (found == nullptr) {
    return;
  }
  const nb::object job = found->job;
  pool_job& of = *found->delivered_to;
  const std::size_t index = found->index;
  if (of.has_ended()) {
    batch_.large().reset();
    forget(received.ticket);
    return;
  }
  bool ok = received.note == static_cast<std::uint16_t>(outcome_note::returned);
  nb::object value = decode(received, ok);
  if (!ok && of.retries) {
    try {
      if (nb::cast<bool>(crew.attr("_retry")(job, index, value))) {
        forget(received.ticket);  // not before: what it was made of is kept for tasks that have no outcome
        return;
      }
    } catch (nb::python_error& raised) {
      forget(received.ticket);
      deliver_to(job, of, index, false, nb::borrow(raised.value()));
      throw;
    }
  }
  forget(received.ticket);
  deliver_to(job, of, index, ok, std::move(value));
}

void pool_queue::deliver_to(const nb::object& job, pool_job& of, std::size_t index, bool ok, nb::object value) {
  const std::size_t items = of.deliver(index, ok, std::move(value));
  if (of.progress.is_valid() && !of.progress.is_none()) {
    if (of.progressed == 0) {
      progressing_.push_back(job);
    }
    of.progressed += items;
  }
  after_delivery(job, of);
}

// Once for all that came together.
void pool_queue::tell() {
  for (const nb::object& job : std::exchange(progressing_, {})) {
    pool_job& of = job_of(job);
    if (of.progress.is_valid() && !of.progress.is_none()) {
      of.progress.attr("update")(std::exchange(of.progressed, 0));
      if (of.has_ended()) {
        of.progress.attr("close")();
      }
    }
  }
  for (const nb::object& job : std::exchange(watched_, {})) {
    job.attr("_tell")();
  }
}

nb::object pool_queue::decode(const outcome& received, bool& ok) {
  try {
    if (batch_.large().in_place()) {
      return decode_borrowed(std::move(batch_.large()), received.bytes.size());
    }
    return decode_object(received.tag, received.bytes);
  } catch (nb::python_error& raised) {
    // Ctrl-C, probably, which is not the task's doing: what has not been consumed is decoded again by the next call.
    if (raised.matches(PyExc_KeyboardInterrupt) && !received.bytes.empty() && interrupted_ != received.ticket &&
        received.bytes.size() < byte_queue::large) {
      interrupted_ = received.ticket;
      throw;
    }
    ok = false;
    return nb::borrow(raised.value());
  } catch (const shoal::error&) {
    set_error_from_current_exception();
    const nb::python_error raised;
    ok = false;
    return nb::borrow(raised.value());
  }
}

void pool_queue::after_delivery(const nb::object& job, pool_job& of) {
  if (!of.has_ended()) {
    return;
  }
  if (of.called_back) {
    crew.attr("_called_back")(job);
    woken_ = true;
  } else if (of.watched) {
    watched_.push_back(job);
  }
  ended(job);
}

void pool_queue::fail(const nb::object& job, std::size_t index, const nb::object& error) {
  deliver_to(job, job_of(job), index, false, error);
  tell();
  wake();  // another thread may be receiving, and know nothing of it
}

void pool_queue::open(const nb::object& job) {
  pool_job& of = job_of(job);
  if (of.has_ended() || !open_.insert(job.ptr()).second) {
    return;
  }
  Py_INCREF(job.ptr());
  // Whoever refuses says so before it looks at the open jobs.
  if (refusal.is_valid() && !refusal.is_none()) {
    of.abort(refusal);
    after_delivery(job, of);
    tell();
    wake();
  }
}

void pool_queue::ended(nb::handle job) {
  if (open_.erase(job.ptr()) == 0) {
    return;
  }
  some_ended_ = true;
  unneeded_.push_back(job_of(job).take_pool());
  unneeded_.push_back(nb::steal(job));
  if (closing_ && open_.empty()) {
    close();
  }
}

std::vector<nb::object> pool_queue::open_jobs() const {
  std::vector<nb::object> all;
  std::transform(open_.begin(), open_.end(), std::back_inserter(all), [](PyObject* job) { return nb::borrow(job); });
  return all;
}

void pool_queue::close_when_idle() {
  closing_ = true;
  if (open_.empty()) {
    close();
  }
}

// Without the GIL: a worker may be stopped where this needs a lock.
void pool_queue::close() {
  if (!refusal.is_valid() || refusal.is_none()) {
    refusal = checked(PyObject_CallFunction(PyExc_ValueError, "s", "Pool not running"));
  }
  const released_gil released;
  queue_.close();
}

void pool_queue::lost(std::size_t slot) {
  ++notices_;
  const released_gil released;
  queue_.lost(slot);
}

// The last slot belongs to no worker: its "death" only lets receive() return.
void pool_queue::wake() {
  tell_followers();
  if (receiving_) {
    const released_gil released;
    queue_.lost(queue_.slots() - 1);
  }
}

pool_queue::task_entry* pool_queue::find(std::uint64_t ticket) {
  if (ticket < first_entry_ || ticket - first_entry_ >= entries_.size()) {
    return nullptr;
  }
  task_entry& found = entries_[ticket - first_entry_];
  return found.job.is_valid() ? &found : nullptr;
}

void pool_queue::forget(std::uint64_t ticket) {
  task_entry* const found = find(ticket);
  if (found == nullptr) {
    return;
  }
  bytes_in_flight_ -= found->size;
  --tasks_in_flight_;
  const nb::object job = std::move(found->job);  // whatever dies with it dies when the entries are in order
  while (!entries_.empty() && !entries_.front().job.is_valid()) {
    entries_.pop_front();
    ++first_entry_;
  }
}

nb::object pool_queue::entry(std::uint64_t ticket, bool taking) {
  const task_entry* const found = find(ticket);
  if (found == nullptr) {
    return nb::none();
  }
  nb::object pair = nb::make_tuple(found->job, found->index);
  if (taking) {
    forget(ticket);
  }
  return pair;
}

std::vector<std::uint64_t> pool_queue::tickets_of(nb::handle job) const {
  std::vector<std::uint64_t> tickets;
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    if (entries_[i].job.is(job)) {
      tickets.push_back(first_entry_ + i);
    }
  }
  return tickets;
}

int pool_queue::traverse(visitproc visit, void* arg) {
  for (const task_entry& each : entries_) {
    Py_VISIT(each.job.ptr());
  }
  for (PyObject* const job : open_) {
    Py_VISIT(job);
  }
  for (const std::vector<nb::object>* const all : {&unneeded_, &progressing_, &watched_}) {
    for (const nb::object& each : *all) {
      Py_VISIT(each.ptr());
    }
  }
  Py_VISIT(crew.ptr());
  Py_VISIT(refusal.ptr());
  Py_VISIT(last_function_.ptr());
  Py_VISIT(kept_function_.ptr());
  return 0;
}

void pool_queue::clear() {
  std::deque<task_entry> entries = std::exchange(entries_, {});
  std::vector<nb::object> jobs = open_jobs();
  for (const nb::object& job : jobs) {
    Py_DECREF(job.ptr());
  }
  open_.clear();
  jobs.clear();
  entries.clear();
  std::vector<nb::object> unneeded = std::exchange(unneeded_, {});
  unneeded.clear();
  crew.reset();
  refusal.reset();
  last_function_.reset();
  kept_function_.reset();
}

}  // namespace shoal::python
