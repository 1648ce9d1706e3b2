// The owner's end of a pool's queue: how outcomes reach those who wait for them.

#include <Python.h>
#include <nanobind/nanobind.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <chrono>
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
    // If this thread was receiving before: what it was woken for here may concern that.
    queue_.woken_ = queue_.woken_ || queue_.receiver_ == PyThread_get_thread_ident();
  }

 private:
  pool_queue& queue_;
};

/// The thread that receives. It may be so already: a signal handler, or whatever else is run on its way, may wait too.
class pool_queue::reception {
 public:
  explicit reception(pool_queue& queue)
      : queue_(queue), before_(std::exchange(queue.receiver_, PyThread_get_thread_ident())) {}
  reception(const reception&) = delete;
  reception& operator=(const reception&) = delete;
  ~reception() {
    queue_.receiver_ = before_;
    if (before_ == 0) {
      queue_.tell_followers();
    }
  }

 private:
  pool_queue& queue_;
  unsigned long before_;
};

bool pool_queue::is_mine() const noexcept { return receiver_ == 0 || receiver_ == PyThread_get_thread_ident(); }

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
    if (is_mine()) {
      const reception mine(*this);
      in_time = receive(&awaited, until);
    } else {
      in_time = follow(until);
    }
  }
}

void pool_queue::receive_unattended() {
  if (is_mine()) {
    const reception mine(*this);
    (void)receive(nullptr, forever);
  } else {
    (void)follow(forever);
  }
}

void pool_queue::look() {
  check_owner();
  if (is_mine()) {
    const reception mine(*this);
    (void)receive(nullptr, no_waiting);
  }
}

// @return false if the time is over.
bool pool_queue::receive(const pool_job* awaited, deadline until) {
  for (;;) {
    deliver_arrivals();
    tell();
    // What dies with a pool, and may call this one: after everything else.
    std::vector<nb::object> unneeded = std::exchange(unneeded_, {});
    unneeded.clear();
    if (std::exchange(some_ready_, false)) {
      tell_followers();
    }
    if (has_room()) {
      tell_feeders();
    }
    const bool enough = awaited != nullptr ? awaited->is_ready() : attending_ > 0 || !expects_something();
    if (std::exchange(woken_, false) || enough) {
      return true;
    }
    arrival& next = free_arrival();
    queue_status status = queue_.next(next.batch, most_outcomes, no_waiting);
    if (goes_on(status, until)) {
      // As wait_for_queue, but that a signal handler may receive something itself.
      const deadline limit = until == no_waiting ? after(std::chrono::milliseconds(100)) : until;
      const released_gil released;
      status = queue_.next(next.batch, most_outcomes, limit);
    }
    next.states.assign(next.batch.size(), arrival::state::todo);
    if (status == queue_status::interrupted) {
      run_signal_handlers();
    } else if (status != queue_status::ok) {
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

void pool_queue::wait_for_room(nb::handle job) {
  const pool_job& of = job_of(job);
  while (!has_room() && !of.has_ended()) {
    const std::uint32_t seen = room_changes_.load(std::memory_order_relaxed);
    ++room_wanted_;
    {
      const released_gil released;
      (void)os::futex_wait(room_changes_, seen, forever);
    }
    --room_wanted_;
  }
}

void pool_queue::tell_feeders() noexcept {
  if (room_wanted_ > 0) {
    room_changes_.fetch_add(1, std::memory_order_relaxed);
    os::futex_wake(room_changes_, std::numeric_limits<int>::max());
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

// One of which everything is delivered.
pool_queue::arrival& pool_queue::free_arrival() {
  const auto found = std::ranges::find_if(
      arrivals_, [](const arrival& each) { return each.doing == 0 && each.first == each.batch.size(); });
  arrival& made = found != arrivals_.end() ? *found : arrivals_.emplace_back();
  made.states.reserve(most_outcomes);
  made.states.clear();
  made.first = 0;
  return made;
}

// What is not delivered when an exception leaves this comes first next time.
void pool_queue::deliver_arrivals() {
  // NOLINTNEXTLINE(modernize-loop-convert): what is delivered may receive more, and so may there be more of them
  for (std::size_t i = 0; i < arrivals_.size(); ++i) {
    arrival& from = arrivals_[i];
    while (from.first < from.states.size()) {
      const std::size_t at = from.first++;
      if (from.states[at] != arrival::state::todo) {
        continue;
      }
      const outcome& next = from.batch[at];
      from.states[at] = arrival::state::doing;
      ++from.doing;
      try {
        deliver(from, next);
      } catch (...) {
        --from.doing;
        if (next.what == outcome::kind::finished && find(next.ticket) != nullptr) {
          from.states[at] = arrival::state::todo;
          from.first = std::min(from.first, at);
        } else {
          from.states[at] = arrival::state::done;
        }
        throw;
      }
      --from.doing;
      from.states[at] = arrival::state::done;
    }
  }
}

void pool_queue::deliver(arrival& from, const outcome& received) {
  switch (received.what) {
    case outcome::kind::finished:
      deliver_finished(from, received);
      break;
    case outcome::kind::called_off:
      forget(received.ticket);
      break;
    case outcome::kind::worker_lost:
      if (received.slot + 1 == queue_.slot_count()) {
        woken_ = true;
      } else {
        --notices_;
        lost_.push_back(received.slot);
        ring();
      }
      break;
  }
}

void pool_queue::deliver_finished(arrival& from, const outcome& received) {
  const task_entry* const found = find(received.ticket);
  if (found == nullptr) {
    return;
  }
  const nb::object job = found->job;
  pool_job& of = *found->delivered_to;
  const std::size_t index = found->index;
  if (of.has_ended()) {
    from.batch.large().reset();
    forget(received.ticket);
    return;
  }
  bool ok = received.note == static_cast<std::uint16_t>(outcome_note::returned);
  nb::object value = decode(from, received, ok);
  if (!ok && of.retries) {
    try {
      if (nb::cast<bool>(crew().attr("_retry")(job, index, value))) {
        forget(received.ticket);  // not before: what it was made of is kept for tasks that have no outcome
        return;
      }
    } catch (...) {
      forget(received.ticket);
      if (!is_in_flight(job, index)) {
        deliver_to(job, of, index, false, std::move(value));
      }
      throw;
    }
  }
  forget(received.ticket);
  deliver_to(job, of, index, ok, std::move(value));
}

bool pool_queue::is_in_flight(const nb::object& job, std::size_t index) const {
  return std::ranges::any_of(entries_, [&](const task_entry& each) { return each.job.is(job) && each.index == index; });
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

// Once for all that came together. What an exception keeps from being told is told next time.
void pool_queue::tell() {
  const auto tell_all = [](std::deque<nb::object>& jobs, auto tell_one) {
    while (!jobs.empty()) {
      nb::object job = std::move(jobs.front());
      jobs.pop_front();
      try {
        tell_one(job);
      } catch (...) {
        jobs.push_front(std::move(job));
        throw;
      }
    }
  };
  tell_all(called_back_, [&](const nb::object& job) { crew().attr("_called_back")(job); });
  tell_all(progressing_, [&](const nb::object& job) { tell_progress(job); });
  tell_all(watched_, [](const nb::object& job) { job.attr("_tell")(); });
}

void pool_queue::tell_progress(const nb::object& job) {
  pool_job& of = job_of(job);
  const nb::object progress = of.progress;
  if (!progress.is_valid() || progress.is_none()) {
    return;
  }
  try {
    progress.attr("update")(std::exchange(of.progressed, 0));
    if (of.has_ended()) {
      progress.attr("close")();
    }
  } catch (nb::python_error& raised) {
    if (!raised.matches(PyExc_Exception)) {
      throw;
    }
    raised.discard_as_unraisable(progress);  // it must not hurt the work
    of.progress.reset();
  }
}

nb::object pool_queue::decode(arrival& from, const outcome& received, bool& ok) {
  try {
    if (from.batch.large().in_place()) {
      return decode_borrowed(std::move(from.batch.large()), received.bytes.size());
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
  some_ready_ = some_ready_ || of.is_ready();
  if (!of.has_ended()) {
    return;
  }
  if (of.retries) {
    // They keep the arguments.
    nb::setattr(job, "_retries", nb::none());
    nb::setattr(job, "_feeder", nb::none());
  }
  if (of.progress.is_valid() && !of.progress.is_none() && of.progressed == 0) {
    progressing_.push_back(job);  // to be closed
  }
  if (of.called_back) {
    called_back_.push_back(job);
    woken_ = true;
  } else if (of.watched) {
    watched_.push_back(job);
  }
  ended(job);
}

void pool_queue::fail(const nb::object& job, std::size_t index, const nb::object& error) {
  try {
    deliver_to(job, job_of(job), index, false, error);
    tell();
  } catch (...) {
    expect();
    throw;
  }
  wake_receiver();
}

// Another thread may be receiving, and know nothing of what was delivered here.
void pool_queue::wake_receiver() {
  if (!is_mine()) {
    wake();
  }
}

void pool_queue::open(const nb::object& job) {
  pool_job& of = job_of(job);
  if (of.has_ended() || of.is_open) {
    return;
  }
  of.is_open = true;
  of.place = open_.size();
  open_.push_back(job);
  // Whoever refuses says so before it looks at the open jobs.
  if (refusal.is_valid() && !refusal.is_none()) {
    of.abort(refusal);
    after_delivery(job, of);
    tell();
    wake();
  }
}

void pool_queue::ended(nb::handle job) {
  pool_job& of = job_of(job);
  if (!of.is_open) {
    return;
  }
  of.is_open = false;
  some_ready_ = true;
  tell_feeders();  // its own may be waiting for room
  unneeded_.push_back(of.take_pool());
  unneeded_.push_back(std::move(open_[of.place]));
  if (of.place + 1 != open_.size()) {
    open_[of.place] = std::move(open_.back());
    job_of(open_[of.place]).place = of.place;
  }
  open_.pop_back();
  if (closing_ && open_.empty()) {
    close();
  }
}

void pool_queue::close_when_idle() {
  closing_ = true;
  for (const nb::object& job : open_jobs()) {
    if (job_of(job).has_ended()) {
      ended(job);  // whoever should have said so was interrupted
    }
  }
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
  if (receiver_ != 0) {
    const released_gil released;
    queue_.lost(queue_.slot_count() - 1);
  }
}

work_queue::called_off pool_queue::call_off(std::uint64_t ticket) {
  const work_queue::called_off found = queue_.call_off(ticket);
  if (found.result == work_queue::call_off_result::running) {
    some_condemned_ = true;
    ring();
  }
  return found;
}

std::vector<std::size_t> pool_queue::condemned() const {
  std::vector<std::size_t> slots;
  for (std::size_t slot = 0; slot + 1 < queue_.slot_count(); ++slot) {
    if (queue_.account(slot).condemned) {
      slots.push_back(slot);
    }
  }
  return slots;
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
  for (const std::vector<nb::object>* const all : {&open_, &unneeded_}) {
    for (const nb::object& each : *all) {
      Py_VISIT(each.ptr());
    }
  }
  for (const std::deque<nb::object>* const all : {&progressing_, &called_back_, &watched_}) {
    for (const nb::object& each : *all) {
      Py_VISIT(each.ptr());
    }
  }
  Py_VISIT(weak_crew.ptr());
  Py_VISIT(refusal.ptr());
  Py_VISIT(last_function_.ptr());
  Py_VISIT(kept_function_.ptr());
  return 0;
}

void pool_queue::clear() {
  std::deque<task_entry> entries = std::exchange(entries_, {});
  std::vector<nb::object> jobs = std::exchange(open_, {});
  jobs.clear();
  entries.clear();
  std::vector<nb::object> unneeded = std::exchange(unneeded_, {});
  unneeded.clear();
  weak_crew.reset();
  refusal.reset();
  last_function_.reset();
  kept_function_.reset();
}

}  // namespace shoal::python
