#include "pool/pool_state.hpp"

#include <algorithm>
#include <array>
#include <new>
#include <stdexcept>
#include <utility>

#include "os/blocked_signals.hpp"
#include "pool/exception_registry.hpp"
#include "pool/messages.hpp"
#include "shoal/error.hpp"

namespace shoal {
namespace {

using std::chrono::steady_clock;

constexpr std::size_t most_outcomes = 256;  // received at once

std::string name_of_task(std::uint64_t number) { return "task " + std::to_string(number); }

error no_shared_memory(std::uint64_t task, std::uint64_t size) {
  return {std::make_error_code(std::errc::not_enough_memory), "there was no shared memory left for the result of " +
                                                                  name_of_task(task) + ", which has " +
                                                                  std::to_string(size) + " bytes."};
}

}  // namespace

/// How tasks reach their pool. Outlives it.
class pool::impl::link final : public detail::task_owner {
 public:
  explicit link(impl& pool) noexcept : pool_(&pool) {}

  bool cancel(detail::task_core& chosen) override {
    if (os::generation() != generation_) {
      return false;  // before the lock, which another thread may have held when this process was forked
    }
    unfinished_task called_off;
    impl* pool = nullptr;
    {
      const std::lock_guard lock(mutex_);
      if (pool_ == nullptr) {
        return false;
      }
      pool = pool_;
      called_off = pool->call_off(chosen);
    }
    if (called_off.outcome == nullptr) {
      return false;
    }
    // The pool waits for this delivery before it ends.
    called_off.outcome->fail(called_off.index, std::make_exception_ptr(task_cancelled(called_off.number)));
    pool->delivered();
    return true;
  }

  void check_wait() const override {
    if (os::generation() != generation_) {
      throw std::logic_error(
          "a task of a pool was waited for in a fork of the process that made the pool, where its outcome never "
          "comes.");
    }
    const std::lock_guard lock(mutex_);
    if (pool_ != nullptr && pool_->is_own_thread()) {
      throw std::logic_error(
          "a task was waited for by what was to follow another task of its pool, in the thread that brings the "
          "outcomes: it would wait for ever. Continue with then() or co_await there.");
    }
  }

  void detach() noexcept {
    const std::lock_guard lock(mutex_);
    pool_ = nullptr;
  }

 private:
  const std::uint64_t generation_ = os::generation();
  mutable std::mutex mutex_;
  impl* pool_;  // guarded by mutex_; null: it has ended
};

pool::impl::impl(std::size_t workers, const pool_options& options)
    : defaults_(options.tasks),
      max_memory_(options.max_memory.value_or(0)),
      work_(workers, options.name),
      link_(std::make_shared<link>(*this)),
      supervisor_(work_, options, [this] { return end_overdue_tasks(); }) {
  try {
    const os::blocked_signals blocked;
    receiver_ = std::thread(&impl::receive, this);
    own_threads_ = {receiver_.get_id(), supervisor_.thread_id()};
  } catch (...) {
    supervisor_.abandon();
    throw;
  }
}

pool::impl::~impl() {
  close();
  receiver_.join();
  wait();  // for a delivery by another thread
  link_->detach();
}

std::shared_ptr<detail::task_owner> pool::impl::owner() const noexcept { return link_; }

bool pool::impl::is_own_thread() const noexcept {
  return std::ranges::find(own_threads_, std::this_thread::get_id()) != own_threads_.end();
}

// --- Receiving

unfinished_task pool::impl::take_locked(std::uint64_t ticket) {
  unfinished_task taken = unfinished_.take(ticket);
  if (taken.outcome != nullptr) {
    forget_locked(taken);
    ++delivering_;
  }
  return taken;
}

void pool::impl::receive() {
  outcome_batch batch;
  std::vector<unfinished_task> finished;
  finished.reserve(most_outcomes);  // what was taken out of the queue must not be lost for lack of memory
  bool more = true;
  while (more) {
    try {
      if (work_.next(batch, most_outcomes) != queue_status::ok) {
        continue;
      }
      receive_some(batch, finished);
      for (const outcome& each : batch) {
        if (each.what == outcome::kind::worker_lost) {
          more = bury_worker(each.slot);
        }
      }
    } catch (const std::bad_alloc&) {
      // The outcomes are still there. Memory may come back, and there is nothing else to wait for.
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    } catch (const std::exception& failure) {
      close(std::string("the pool failed: ") + failure.what(), ending::by_force);
      supervisor_.abandon();
      more = false;
    }
  }
  fail_unfinished();
}

void pool::impl::receive_some(outcome_batch& batch, std::vector<unfinished_task>& finished) {
  finished.resize(batch.size());
  {
    const std::lock_guard lock(mutex_);
    for (std::size_t i = 0; i < batch.size(); ++i) {
      if (batch[i].what != outcome::kind::worker_lost) {
        finished[i] = take_locked(batch[i].ticket);
      }
    }
  }
  std::size_t count = 0;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    if (finished[i].outcome != nullptr) {
      deliver(batch[i], finished[i]);
      ++count;
    }
  }
  finished.clear();
  delivered(count);
}

void pool::impl::deliver(const outcome& received, unfinished_task& task) {
  try {
    decoder in(received.bytes);
    if (received.what == outcome::kind::called_off) {
      throw task_cancelled(task.number);
    }
    switch (static_cast<result_kind>(received.note)) {
      case result_kind::value:
        task.outcome->succeed(task.index, in);
        return;
      case result_kind::exception:
        fail(task, decode_exception(in, name_of_task(task.number)), false);
        return;
      case result_kind::lack_of_memory:
        throw memory_limit_exceeded(task.number, max_memory_);
      case result_kind::too_large:
        throw no_shared_memory(task.number, in.unsigned_integer());
    }
    throw error(errc::corrupt_record, "a worker said what no worker says of " + name_of_task(task.number));
  } catch (...) {
    fail(task, std::current_exception(), false);
  }
}

// @return false if no worker is left, and none will come.
bool pool::impl::bury_worker(std::size_t slot) {
  unfinished_task lost;
  bool had_a_task = false;
  {
    const std::lock_guard lock(mutex_);  // not while the slot's worker is being called off
    if (const std::optional<std::uint64_t> ticket = work_.reclaim(slot)) {
      had_a_task = true;
      lost = take_locked(*ticket);
    }
  }
  if (lost.outcome != nullptr) {
    const bool by_us = is_being_killed();
    fail(lost, by_us ? closed_error(lost.number) : death_of_worker(slot, lost.number), !by_us);
    delivered();
  }
  const bool more = supervisor_.release(slot, had_a_task);
  if (const std::optional<std::string> failure = supervisor_.failure()) {
    close("the pool gave up: " + *failure, ending::by_force);
  }
  return more;
}

// What is known of a task must be told, for lack of memory at least that.
std::exception_ptr pool::impl::death_of_worker(std::size_t slot, std::uint64_t task) const noexcept {
  try {
    const worker_end end = supervisor_.how_it_ended(slot);
    return std::make_exception_ptr(worker_died(task, end.id, end.status, end.how));
  } catch (const std::exception&) {
    return std::current_exception();
  }
}

void pool::impl::fail(unfinished_task& task, std::exception_ptr reason, bool worker_died) {
  if (task.terms == nullptr || !run_again(task, reason, worker_died)) {
    task.outcome->fail(task.index, std::move(reason));
  }
}

// @return false if the task has to fail.
bool pool::impl::run_again(unfinished_task& failed, const std::exception_ptr& reason, bool worker_died) {
  task_terms& terms = *failed.terms;
  try {
    if (terms.retries_left == 0 || !(terms.retry_if ? terms.retry_if(reason) : worker_died)) {
      return false;
    }
    const std::lock_guard lock(mutex_);
    if (ending_ == ending::by_force) {
      return false;
    }
    --terms.retries_left;
    const std::vector<std::byte> arguments = terms.arguments;
    const const_bytes all = arguments;
    submit_locked(terms.run, {&all, 1}, std::move(failed));
    return true;
  } catch (const std::exception&) {
    return false;  // no memory; the reason it failed for says more
  }
}

void pool::impl::fail_unfinished() {
  for (;;) {
    unfinished_task left;
    {
      const std::lock_guard lock(mutex_);
      if (unfinished_.empty()) {
        return;
      }
      left = take_locked(unfinished_.first_ticket());
    }
    left.outcome->fail(left.index, closed_error(left.number));
    delivered();
  }
}

void pool::impl::delivered(std::size_t count) {
  const std::lock_guard lock(mutex_);
  delivering_ -= count;
  if (unfinished_.empty() && delivering_ == 0) {
    if (ending_ == ending::orderly) {
      end_workers_locked();
    }
    all_done_.notify_all();
  }
}

// --- Calling off

unfinished_task pool::impl::call_off(const detail::task_core& chosen) {
  const std::lock_guard lock(mutex_);
  const std::uint64_t ticket = chosen.ticket();
  const unfinished_task* const found = unfinished_.find(ticket);
  if (found == nullptr || found->outcome.get() != &chosen) {
    return {};
  }
  const work_queue::called_off result = work_.call_off(ticket);
  if (result.result == work_queue::call_off_result::too_late) {
    return {};
  }
  if (result.result == work_queue::call_off_result::running) {
    supervisor_.kill(result.slot);
  }
  return take_locked(ticket);
}

// @return when it has to be called again.
deadline pool::impl::end_overdue_tasks() {
  std::vector<unfinished_task> overdue;
  deadline next = forever;
  {
    const std::lock_guard lock(mutex_);
    if (timeouts_.empty()) {
      looks_at_ = forever;
      return forever;
    }
    const deadline now = steady_clock::now();
    next = later_by(timeouts_.begin()->first, now);  // of a task that begins now
    for (std::size_t slot = 0; slot < work_.slot_count(); ++slot) {
      next = std::min(next, end_if_overdue_locked(slot, now, overdue));
    }
    looks_at_ = next;
  }
  for (unfinished_task& each : overdue) {
    fail(each, std::make_exception_ptr(task_timed_out(each.number, *each.terms->timeout)), false);
  }
  if (!overdue.empty()) {
    delivered(overdue.size());
  }
  return next;
}

// @return when the task that is run in the slot will be overdue.
deadline pool::impl::end_if_overdue_locked(std::size_t slot, deadline now, std::vector<unfinished_task>& overdue) {
  const slot_account account = work_.account(slot);
  const unfinished_task* const task = account.running ? unfinished_.find(*account.running) : nullptr;
  if (task == nullptr || task->terms == nullptr || !task->terms->timeout || account.since == deadline{}) {
    return forever;
  }
  const deadline due = later_by(*task->terms->timeout, account.since);
  if (due > now) {
    return due;
  }
  const work_queue::called_off result = work_.call_off(*account.running);
  if (result.result == work_queue::call_off_result::running) {
    supervisor_.kill(result.slot);
    overdue.push_back(take_locked(*account.running));
  }
  return forever;  // if it is not running any more, its outcome is on its way
}

// --- Ending

void pool::impl::close() { close("the pool was closed", ending::orderly); }

void pool::impl::wait() {
  link_->check_wait();
  std::unique_lock lock(mutex_);
  all_done_.wait(lock, [&] { return unfinished_.empty() && delivering_ == 0; });
}

void pool::impl::terminate() {
  close("the pool was terminated", ending::by_force);
  supervisor_.kill_all();
  if (!is_own_thread()) {
    wait();
  }
}

void pool::impl::close(const std::string& reason, ending how) {
  const std::lock_guard lock(mutex_);
  if (ending_ >= how) {
    return;
  }
  ending_ = how;
  why_closed_ = reason;
  // Tasks that are left may have to be run again.
  if (how == ending::by_force || (unfinished_.empty() && delivering_ == 0)) {
    end_workers_locked();
  }
}

void pool::impl::end_workers_locked() {
  work_.close();
  supervisor_.wind_down();
}

bool pool::impl::is_being_killed() {
  const std::lock_guard lock(mutex_);
  return ending_ == ending::by_force;
}

std::exception_ptr pool::impl::closed_error(std::uint64_t task) noexcept {
  try {
    const std::lock_guard lock(mutex_);
    return std::make_exception_ptr(
        error(errc::closed, why_closed_ + " before " + name_of_task(task) + " was finished."));
  } catch (const std::exception&) {
    return std::current_exception();
  }
}

}  // namespace shoal
