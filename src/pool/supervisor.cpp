#include "pool/supervisor.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <ctime>
#include <exception>
#include <new>
#include <system_error>
#include <utility>

#include "os/blocked_signals.hpp"
namespace shoal {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::seconds good_start{1};  // a worker that ends later did not fail to start
constexpr std::chrono::milliseconds first_delay{10};
constexpr std::chrono::milliseconds longest_delay{100};
// In a row, in one slot. An initializer that kills its worker will do so again. Without one it is something from
// outside, such as a lack of memory that others have caused, and may pass: with the delays between them these take some
// 3 s.
constexpr int most_failures = 30;
constexpr int most_failures_of_initializer = 8;
constexpr std::chrono::milliseconds retry{100};  // after a lack of memory

std::chrono::milliseconds delay_after(int failures) {
  return failures == 0 ? std::chrono::milliseconds(0)
                       : std::min(longest_delay, first_delay * (1 << std::min(failures - 1, 10)));
}

int milliseconds_until(deadline until) {
  if (until == forever) {
    return -1;
  }
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - steady_clock::now());
  return static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 60'000));
}

worker_end end_of(process& worker) {
  worker_end end{.id = worker.id(), .status = {}, .how = {}, .initializer_failed = false};
  try {
    end.status = worker.join();
    end.how = to_string(*end.status);
  } catch (const remote_error& failure) {
    end.status = exit_status::exited_with(EXIT_FAILURE);
    end.initializer_failed = failure.type() == "shoal::detail::initializer_failed";
    end.how = "failed: " + (end.initializer_failed ? failure.message() : failure.what());
  } catch (const std::system_error&) {
    end.how = "ended, how is not known because the program ignores SIGCHLD";
  }
  return end;
}

}  // namespace

supervisor::supervisor(work_queue& work, const pool_options& options, other_duty duty)
    : work_(work),
      options_(options),
      method_(options.method.value_or(get_start_method())),
      duty_(std::move(duty)),
      slots_(work.slot_count()) {
  ::pthread_sigmask(SIG_SETMASK, nullptr, &signal_mask_);
  try {
    for (std::size_t i = 0; i < slots_.size(); ++i) {
      begin(i, make_worker(i));
    }
    const os::blocked_signals blocked;  // the thread shall handle none of the program's signals
    thread_ = std::thread(&supervisor::run, this);
  } catch (...) {
    kill_running();
    for (slot& each : slots_) {
      if (each.worker.joinable()) {
        end_of(each.worker);
      }
    }
    throw;
  }
}

supervisor::~supervisor() { thread_.join(); }

process supervisor::make_worker(std::size_t index) const {
  const bool is_fork = method_ == start_method::fork;
  const detail::worker_settings settings{.slot = index,
                                         .max_tasks = options_.max_tasks_per_worker,
                                         .max_memory = options_.max_memory.value_or(0),
                                         .starter = ::getpid(),
                                         .is_fork = is_fork,
                                         .signal_mask = signal_mask_};
  process_options options{.method = method_, .name = options_.name + "-" + std::to_string(index), .daemon = true};
  if (!options_.cpu_affinity.empty()) {
    options.cpu_affinity = options_.cpu_affinity[index % options_.cpu_affinity.size()];
  }
  options.nice = options_.nice;
  options.max_memory = options_.max_memory;
  return options_.initializer.start(options, work_, settings);
}

void supervisor::begin(std::size_t index, process made) {
  slot& chosen = slots_[index];
  chosen.worker = std::move(made);
  chosen.now = state::running;
  chosen.started = steady_clock::now();
}

// Not under the lock, for it may take long.
void supervisor::start(std::size_t index, std::unique_lock<std::mutex>& lock) {
  slot& chosen = slots_[index];
  chosen.now = state::starting;
  chosen.proven = false;
  chosen.finished_before = work_.account(index).finished;
  lock.unlock();
  try {
    process made = make_worker(index);
    lock.lock();
    begin(index, std::move(made));
    if (killing_ || std::exchange(chosen.condemned, false)) {
      chosen.worker.kill();
    }
  } catch (const std::exception& failure) {
    if (!lock.owns_lock()) {
      lock.lock();
    }
    chosen.now = state::waiting;
    chosen.end = {.id = 0,
                  .status = {},
                  .how = std::string("could not be started: ") + failure.what(),
                  .initializer_failed = false};
    fail(chosen);
    chosen.start_at = steady_clock::now() + delay_after(chosen.failures);
  }
}

std::uint64_t supervisor::progress() const noexcept {
  std::uint64_t all = lost_tasks_;
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    all += work_.account(i).finished;
  }
  return all;
}

worker_end supervisor::how_it_ended(std::size_t index) const {
  const std::lock_guard lock(mutex_);
  return slots_[index].end;
}

std::optional<std::string> supervisor::failure() const {
  const std::lock_guard lock(mutex_);
  return failure_;
}

bool supervisor::is_needed() const { return !killing_ && !(winding_down_ && work_.pending() == 0); }

bool supervisor::release(std::size_t index, bool had_a_task) {
  const std::lock_guard lock(mutex_);
  slot& freed = slots_[index];
  lost_tasks_ += had_a_task ? 1 : 0;
  const bool worked = had_a_task || freed.proven || work_.account(index).finished != freed.finished_before;
  if (freed.end.initializer_failed && is_needed()) {
    give_up("the initializer of worker " + std::to_string(freed.end.id) + " " + freed.end.how);
  } else if (worked || steady_clock::now() - freed.started >= good_start) {
    freed.failures = 0;
  } else if (is_needed()) {
    fail(freed);
  }
  freed.now = is_needed() ? state::waiting : state::retired;
  freed.start_at = steady_clock::now() + delay_after(freed.failures);
  changed_.raise();
  return !std::ranges::all_of(slots_, [](const slot& each) { return each.now == state::retired; });
}

// Counts a worker that did not get going, or did not even start.
void supervisor::fail(slot& unlucky) {
  if (unlucky.failures == 0) {
    unlucky.progress_before = progress();
  }
  ++unlucky.failures;
  const int most = options_.initializer ? most_failures_of_initializer : most_failures;
  if (unlucky.failures >= most && unlucky.progress_before == progress() && !killing_) {
    give_up(std::to_string(most) + " workers in a row ended as soon as they had been started; the last one " +
            unlucky.end.how);
  }
}

void supervisor::give_up(std::string reason) {
  failure_ = std::move(reason);
  killing_ = true;
  changed_.raise();
}

void supervisor::kill(std::size_t index) {
  const std::lock_guard lock(mutex_);
  slot& chosen = slots_[index];
  chosen.proven = true;
  chosen.condemned = chosen.now == state::starting;
  chosen.worker.kill();
}

void supervisor::wind_down() {
  const std::lock_guard lock(mutex_);
  winding_down_ = true;
  changed_.raise();
}

void supervisor::kill_all() {
  const std::lock_guard lock(mutex_);
  killing_ = true;
  changed_.raise();
}

void supervisor::abandon() {
  const std::lock_guard lock(mutex_);
  killing_ = true;
  abandoned_ = true;
  changed_.raise();
}

void supervisor::kill_running() const {
  for (const slot& each : slots_) {
    each.worker.kill();
  }
}

void supervisor::run() {
  std::vector<pollfd> watched;
  while (look_after_slots()) {
    deadline until = duty_();
    watched.assign(1, {.fd = changed_.get(), .events = POLLIN, .revents = 0});
    {
      const std::lock_guard lock(mutex_);
      for (const slot& each : slots_) {
        // A dead worker whose notice could not be pushed polls readable all the time: it waits for `retry` instead.
        if (each.now == state::running && each.worker.joinable()) {
          watched.push_back({.fd = each.worker.native_handle(), .events = POLLIN, .revents = 0});
        }
      }
      until = std::min(until, next_look());
    }
    ::poll(watched.data(), watched.size(), milliseconds_until(until));
    changed_.lower();
  }
}

deadline supervisor::next_look() const {
  deadline next = forever;
  for (const slot& each : slots_) {
    if (each.now == state::waiting || (each.now == state::running && !each.worker.joinable())) {
      next = std::min(next, each.start_at);
    }
  }
  return next;
}

// @return false if all is over.
bool supervisor::look_after_slots() {
  std::unique_lock lock(mutex_);
  if (killing_) {
    kill_running();
  }
  const deadline now = steady_clock::now();
  bool any_left = false;
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    slot& each = slots_[i];
    if (each.now == state::running) {
      reap(i);
    } else if (each.now == state::waiting && !is_needed()) {
      report(i);  // so that release() is called, which retires it
    } else if (each.now == state::waiting && now >= each.start_at) {
      start(i, lock);
    }
    if (abandoned_ && !each.worker.joinable()) {
      each.now = state::retired;
    }
    any_left = any_left || each.now != state::retired;
  }
  return any_left;
}

void supervisor::reap(std::size_t index) {
  slot& each = slots_[index];
  if (each.worker.joinable()) {
    pollfd ended{.fd = each.worker.native_handle(), .events = POLLIN, .revents = 0};
    if (::poll(&ended, 1, 0) != 1) {
      return;
    }
    each.end = end_of(each.worker);
  }
  report(index);
}

void supervisor::report(std::size_t index) {
  try {
    work_.lost(index);
    slots_[index].now = state::reported;
  } catch (const std::bad_alloc&) {
    slots_[index].start_at = steady_clock::now() + retry;
  }
}

}  // namespace shoal
