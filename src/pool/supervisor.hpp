#pragma once

#include <sys/types.h>

#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "os/event_fd.hpp"
#include "shoal/deadline.hpp"
#include "shoal/pool_options.hpp"
#include "shoal/process.hpp"
#include "shoal/work_queue.hpp"

namespace shoal {

/// How a worker ended.
struct worker_end {
  pid_t id = 0;
  std::optional<exit_status> status;
  std::string how;  // completes "worker 4711 ..."
  bool initializer_failed = false;
};

/// Keeps the worker processes of a work_queue running: starts them, notices their death, replaces them.
///
/// A slot's worker ends; the supervisor's thread reaps it and pushes the notice, `work_queue::lost`. When that comes
/// out behind everything the worker had finished, whoever reads the results asks how_it_ended(slot), reclaims its task
/// and calls release(slot). Only then the slot gets its next worker, unless it is needed no more: then it is retired.
///
/// Workers that end within a second of their start without finishing anything are replaced ever more slowly, and in the
/// end not at all; nor is one whose initializer failed.
class supervisor {
 public:
  /// Called by the thread that watches the workers, whenever it looks after them.
  /// @return when it shall be called again, at the latest.
  using other_duty = std::function<deadline()>;

  /// Starts the workers, and then, so that they are forks of the calling thread alone, the thread that watches them.
  /// @throws  what the constructor of process does; nothing is left behind.
  supervisor(work_queue& work, const pool_options& options, other_duty duty);

  /// All slots must be retired, or stop() called.
  ~supervisor();

  supervisor(const supervisor&) = delete;
  supervisor& operator=(const supervisor&) = delete;

  // For the reader of the results.

  /// @param had_a_task  the worker died running one, so it had started well.
  /// @return false if all slots are retired now.
  bool release(std::size_t index, bool had_a_task);

  [[nodiscard]] worker_end how_it_ended(std::size_t index) const;

  /// Set when workers could not be kept running, and all were killed.
  [[nodiscard]] std::optional<std::string> failure() const;

  // For everybody.

  /// Kills one worker, whose task was called off: it is no failure of the worker's.
  void kill(std::size_t index);

  [[nodiscard]] std::thread::id thread_id() const noexcept { return thread_.get_id(); }

  /// Has the other duty done soon.
  void look_again() { changed_.raise(); }

  /// No more tasks will come: a slot is retired once its worker has ended and no task is pending.
  void wind_down();

  /// Kills all workers and starts no new ones.
  void kill_all();

  /// As kill_all, and expects no release(): the results cannot be read any more.
  void abandon();

 private:
  enum class state { waiting, starting, running, reported, retired };

  struct slot {
    state now = state::waiting;
    process worker;
    deadline started{};
    deadline start_at{};
    bool proven = false;                // this worker has at least taken a task
    bool condemned = false;             // it is to be killed, but was not here yet when that was said
    std::uint64_t finished_before = 0;  // by the slot's workers before this one
    int failures = 0;                   // workers in a row that did not get so far
    std::uint64_t progress_before = 0;  // progress() at the first of those failures
    worker_end end;
  };

  [[nodiscard]] process make_worker(std::size_t index) const;
  void begin(std::size_t index, process made);
  void start(std::size_t index, std::unique_lock<std::mutex>& lock);
  [[nodiscard]] std::uint64_t progress() const noexcept;
  void run();
  [[nodiscard]] deadline next_look() const;
  bool look_after_slots();
  void reap(std::size_t index);
  void report(std::size_t index);
  void kill_running() const;
  void fail(slot& unlucky);
  void give_up(std::string reason);
  [[nodiscard]] bool is_needed() const;

  work_queue& work_;
  const pool_options options_;
  const start_method method_;
  other_duty duty_;
  sigset_t signal_mask_{};  // of the thread that made this; workers get it back
  os::event_fd changed_;    // wakes the thread

  mutable std::mutex mutex_;  // guards everything below
  std::vector<slot> slots_;
  bool winding_down_ = false;
  bool killing_ = false;
  bool abandoned_ = false;
  std::uint64_t lost_tasks_ = 0;  // with their workers
  std::optional<std::string> failure_;

  std::thread thread_;
};

}  // namespace shoal
