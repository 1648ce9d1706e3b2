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

// The caller keeps it until every outcome has come.
std::shared_ptr<detail::completion> borrowed(detail::completion& outcomes) {
  return {std::shared_ptr<void>(), &outcomes};
}

task_header header_for(const detail::code_location& code, const task_terms* terms) {
  return {.function = code.address,
          .name_size = static_cast<std::uint32_t>(code.name.size()),
          .is_timed = terms != nullptr && terms->timeout ? 1U : 0U};
}

error no_shared_memory(std::uint64_t task, std::uint64_t size) {
  return {std::make_error_code(std::errc::not_enough_memory), "there was no shared memory left for the result of " +
                                                                  name_of_task(task) + ", which has " +
                                                                  std::to_string(size) + " bytes."};
}

deadline later_by(std::chrono::nanoseconds timeout, deadline begin) {
  return timeout < forever - begin ? begin + timeout : forever;
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
    delivery called_off;
    impl* pool = nullptr;
    {
      const std::lock_guard lock(mutex_);
      if (pool_ == nullptr) {
        return false;
      }
      pool = pool_;
      called_off = pool->call_off(chosen);
    }
    if (called_off.task.outcome == nullptr) {
      return false;
    }
    // The pool waits for this delivery before it ends.
    called_off.task.outcome->fail(called_off.task.index, std::make_exception_ptr(task_cancelled(called_off.number())));
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
  const std::thread::id self = std::this_thread::get_id();
  return self == receiver_.get_id() || self == supervisor_.thread_id();
}

// --- Submitting

std::unique_ptr<task_terms> pool::impl::terms_of(detail::task_function run, std::span<const const_bytes> arguments,
                                                 const task_options& options) const {
  const auto timeout = options.timeout ? options.timeout : defaults_.timeout;
  const std::size_t retries = options.retries.value_or(defaults_.retries.value_or(0));
  if (!timeout && retries == 0) {
    return nullptr;
  }
  auto terms = std::make_unique<task_terms>();
  terms->timeout = timeout;
  terms->retries_left = retries;
  terms->run = run;
  if (retries > 0) {
    terms->retry_if = options.retry_if ? options.retry_if : defaults_.retry_if;
    for (const const_bytes part : arguments) {
      terms->arguments.insert(terms->arguments.end(), part.begin(), part.end());
    }
  }
  return terms;
}

void pool::impl::check_open_locked() const {
  if (ending_ != ending::none) {
    throw error(errc::closed, why_closed_ + ", so it takes no more tasks.");
  }
}

// Before it is submitted: the outcome may arrive before submit returns, and what can fail shall fail before.
void pool::impl::enter_locked(unfinished_task&& entered) {
  const std::uint64_t ticket = unfinished_.next_ticket();
  if (entered.terms != nullptr && entered.terms->timeout) {
    watch_locked(*entered.terms->timeout);
  }
  const unfinished_task& added = unfinished_.add(std::move(entered));
  added.outcome->submitted(added.index, ticket);
}

unfinished_task pool::impl::withdraw_locked() noexcept {
  unfinished_task last = unfinished_.withdraw();
  forget_locked(last);
  return last;
}

void pool::impl::watch_locked(std::chrono::nanoseconds timeout) {
  ++timeouts_[timeout];
  // The soonest that a task can be overdue is `timeout` from now.
  if (const deadline soonest = later_by(timeout, steady_clock::now()); soonest < looks_at_) {
    looks_at_ = soonest;
    supervisor_.look_again();
  }
}

void pool::impl::forget_locked(const unfinished_task& gone) noexcept {
  if (gone.terms != nullptr && gone.terms->timeout) {
    const auto found = timeouts_.find(*gone.terms->timeout);
    if (--found->second == 0) {
      timeouts_.erase(found);
    }
  }
}

void pool::impl::submit(detail::task_function run, std::span<const const_bytes> arguments,
                        std::shared_ptr<detail::completion> outcome, const task_options& options) {
  std::unique_ptr<task_terms> terms = terms_of(run, arguments, options);
  const std::lock_guard lock(mutex_);
  check_open_locked();
  if (terms != nullptr) {
    terms->number = unfinished_.next_ticket();
  }
  submit_locked(run, arguments, {std::move(outcome), 0, std::move(terms)});
}

// `entered` is as before if this throws.
void pool::impl::submit_locked(detail::task_function run, std::span<const const_bytes> arguments,
                               unfinished_task&& entered) {
  const detail::code_location code = detail::locate_code(reinterpret_cast<const void*>(run));
  const task_header header = header_for(code, entered.terms.get());
  std::array<const_bytes, 4> parts{bytes_of(header), code.name};
  std::ranges::copy(arguments, parts.begin() + 2);  // two at most
  enter_locked(std::move(entered));
  try {
    work_.submit(encoding::raw, std::span(parts).first(2 + arguments.size()));
  } catch (...) {
    entered = withdraw_locked();
    throw;
  }
}

void pool::impl::submit(detail::task_function run, const detail::task_batch& batch, detail::completion& outcomes,
                        std::size_t& submitted, const task_options& options) {
  const detail::code_location code = detail::locate_code(reinterpret_cast<const void*>(run));
  std::vector<std::unique_ptr<task_terms>> terms(batch.size());
  std::vector<const_bytes> parts;
  parts.reserve(3 * batch.size());
  std::vector<outgoing_record> records;
  records.reserve(batch.size());
  task_header header{};
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const const_bytes arguments = batch[i];
    terms[i] = terms_of(run, {&arguments, 1}, options);
    header = header_for(code, terms[i].get());
    parts.insert(parts.end(), {bytes_of(header), code.name, arguments});
    records.push_back({encoding::raw, std::span(parts).last(3)});
  }

  const std::lock_guard lock(mutex_);
  check_open_locked();
  std::size_t entered = 0;
  std::size_t pushed = 0;
  try {
    for (; entered < batch.size(); ++entered) {
      if (terms[entered] != nullptr) {
        terms[entered]->number = unfinished_.next_ticket();
      }
      enter_locked({borrowed(outcomes), submitted + entered, std::move(terms[entered])});
    }
    while (pushed < batch.size()) {
      work_.submit_many(std::span(records).subspan(pushed), pushed);
    }
  } catch (...) {
    for (; entered > pushed; --entered) {
      (void)withdraw_locked();
    }
    submitted += pushed;
    throw;
  }
  submitted += pushed;
}

// --- Receiving

pool::impl::delivery pool::impl::take_locked(std::uint64_t ticket) {
  delivery taken{ticket, unfinished_.take(ticket)};
  if (taken.task.outcome != nullptr) {
    forget_locked(taken.task);
    ++delivering_;
  }
  return taken;
}

void pool::impl::receive() {
  outcome_batch batch;
  std::vector<delivery> deliveries;
  deliveries.reserve(most_outcomes);  // what was taken out of the queue must not be lost for lack of memory
  bool more = true;
  while (more) {
    try {
      if (work_.next(batch, most_outcomes) != queue_status::ok) {
        continue;
      }
      receive_some(batch, deliveries);
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

void pool::impl::receive_some(outcome_batch& batch, std::vector<delivery>& deliveries) {
  deliveries.resize(batch.size());
  {
    const std::lock_guard lock(mutex_);
    for (std::size_t i = 0; i < batch.size(); ++i) {
      if (batch[i].what != outcome::kind::worker_lost) {
        deliveries[i] = take_locked(batch[i].ticket);
      }
    }
  }
  std::size_t count = 0;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    if (deliveries[i].task.outcome != nullptr) {
      deliver(batch[i], deliveries[i]);
      ++count;
    }
  }
  deliveries.clear();
  delivered(count);
}

void pool::impl::deliver(const outcome& received, delivery& to) {
  const unfinished_task& task = to.task;
  try {
    decoder in(received.bytes);
    if (received.what == outcome::kind::called_off) {
      throw task_cancelled(to.number());
    }
    switch (static_cast<result_kind>(received.note)) {
      case result_kind::value:
        task.outcome->succeed(task.index, in);
        return;
      case result_kind::exception:
        fail(to, decode_exception(in, name_of_task(to.number())), false);
        return;
      case result_kind::lack_of_memory:
        throw memory_limit_exceeded(to.number(), max_memory_);
      case result_kind::too_large:
        throw no_shared_memory(to.number(), in.unsigned_integer());
    }
    throw error(errc::corrupt_record, "a worker said what no worker says of " + name_of_task(to.number()));
  } catch (...) {
    fail(to, std::current_exception(), false);
  }
}

// @return false if no worker is left, and none will come.
bool pool::impl::bury_worker(std::size_t slot) {
  delivery lost;
  bool had_a_task = false;
  {
    const std::lock_guard lock(mutex_);  // not while the slot's worker is being called off
    if (const std::optional<std::uint64_t> ticket = work_.reclaim(slot)) {
      had_a_task = true;
      lost = take_locked(*ticket);
    }
  }
  if (lost.task.outcome != nullptr) {
    const bool by_us = is_being_killed();
    fail(lost, by_us ? closed_error(lost.number()) : death_of_worker(slot, lost.number()), !by_us);
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

void pool::impl::fail(delivery& to, const std::exception_ptr& reason, bool worker_died) {
  if (to.task.terms == nullptr || !run_again(to, reason, worker_died)) {
    to.task.outcome->fail(to.task.index, reason);
  }
}

// @return false if the task has to fail.
bool pool::impl::run_again(delivery& failed, const std::exception_ptr& reason, bool worker_died) {
  task_terms& terms = *failed.task.terms;
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
    submit_locked(terms.run, {&all, 1}, std::move(failed.task));
    return true;
  } catch (const std::exception&) {
    return false;  // no memory; the reason it failed for says more
  }
}

void pool::impl::fail_unfinished() {
  for (;;) {
    delivery left;
    {
      const std::lock_guard lock(mutex_);
      if (unfinished_.empty()) {
        return;
      }
      left = take_locked(unfinished_.first_ticket());
    }
    left.task.outcome->fail(left.task.index, closed_error(left.number()));
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

pool::impl::delivery pool::impl::call_off(const detail::task_core& chosen) {
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
  std::vector<delivery> overdue;
  deadline next = forever;
  {
    const std::lock_guard lock(mutex_);
    if (timeouts_.empty()) {
      looks_at_ = forever;
      return forever;
    }
    const deadline now = steady_clock::now();
    next = later_by(timeouts_.begin()->first, now);  // of a task that begins now
    for (std::size_t slot = 0; slot < work_.slots(); ++slot) {
      next = std::min(next, end_if_overdue_locked(slot, now, overdue));
    }
    looks_at_ = next;
  }
  for (delivery& each : overdue) {
    fail(each, std::make_exception_ptr(task_timed_out(each.number(), *each.task.terms->timeout)), false);
  }
  if (!overdue.empty()) {
    delivered(overdue.size());
  }
  return next;
}

// @return when the task that is run in the slot will be overdue.
deadline pool::impl::end_if_overdue_locked(std::size_t slot, deadline now, std::vector<delivery>& overdue) {
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
