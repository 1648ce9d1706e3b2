#include "pool/supervisor.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <ctime>
#include <exception>
#include <new>
#include <system_error>

#include "os/blocked_signals.hpp"
#include "pool/worker.hpp"
#include "shoal/die_with_parent.hpp"

namespace shoal {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::seconds good_start{1};  // a worker that ends later did not fail to start
constexpr std::chrono::milliseconds first_delay{10};
constexpr std::chrono::milliseconds longest_delay{1000};
constexpr int most_failures = 8;                 // in a row, in one slot; some 1.3 s with the delays between them
constexpr std::chrono::milliseconds retry{100};  // after a lack of memory

std::chrono::milliseconds delay_after(int failures) {
  return failures == 0 ? std::chrono::milliseconds(0) : std::min(longest_delay, first_delay * (1 << (failures - 1)));
}

int milliseconds_until(deadline until) {
  if (until == forever) {
    return -1;
  }
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - steady_clock::now());
  return static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 60'000));
}

worker_end end_of(process& worker) {
  worker_end end{.id = worker.id(), .status = {}, .how = {}};
  try {
    end.status = worker.join();
    end.how = to_string(*end.status);
  } catch (const remote_error& failure) {
    end.status = exit_status::exited_with(EXIT_FAILURE);
    end.how = std::string("failed: ") + failure.what();
  } catch (const std::system_error&) {
    end.how = "ended, how is not known because the program ignores SIGCHLD";
  }
  return end;
}

}  // namespace

supervisor::supervisor(work_queue& work, std::size_t workers) : work_(work), slots_(workers) {
  ::pthread_sigmask(SIG_SETMASK, nullptr, &signal_mask_);
  try {
    for (std::size_t i = 0; i < workers; ++i) {
      start(i);
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

void supervisor::start(std::size_t index) {
  slot& chosen = slots_[index];
  const pid_t parent = ::getpid();
  chosen.worker = process([this, index, parent] {
    ::pthread_sigmask(SIG_SETMASK, &signal_mask_, nullptr);
    die_with_parent(parent);
    work(work_, index);
  });
  chosen.now = state::running;
  chosen.proven = false;
  chosen.started = steady_clock::now();
}

void supervisor::worker_finished_something(std::size_t index) {
  const std::lock_guard lock(mutex_);
  slots_[index].proven = true;
  ++progress_;
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
  progress_ += had_a_task ? 1 : 0;
  if (had_a_task || freed.proven || steady_clock::now() - freed.started >= good_start) {
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
    unlucky.progress_before = progress_;
  }
  ++unlucky.failures;
  if (unlucky.failures >= most_failures && unlucky.progress_before == progress_ && !killing_) {
    failure_ = std::to_string(most_failures) +
               " workers in a row ended as soon as they had been started; the last one " + unlucky.end.how;
    killing_ = true;
    changed_.raise();
  }
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
    deadline until = forever;
    watched.assign(1, {.fd = changed_.get(), .events = POLLIN, .revents = 0});
    {
      const std::lock_guard lock(mutex_);
      for (const slot& each : slots_) {
        // A dead worker whose notice could not be pushed polls readable all the time: it waits for `retry` instead.
        if (each.now == state::running && each.worker.joinable()) {
          watched.push_back({.fd = each.worker.native_handle(), .events = POLLIN, .revents = 0});
        }
      }
      until = next_look();
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
  const std::lock_guard lock(mutex_);
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
      try {
        start(i);
      } catch (const std::exception& failure) {
        each.end = {.id = 0, .status = {}, .how = std::string("could not be started: ") + failure.what()};
        fail(each);
        each.start_at = now + delay_after(each.failures);
      }
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
