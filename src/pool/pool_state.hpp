#pragma once

#include <array>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "os/forks.hpp"
#include "pool/supervisor.hpp"
#include "pool/unfinished_tasks.hpp"
#include "shoal/deadline.hpp"
#include "shoal/detail/task_batch.hpp"
#include "shoal/pool.hpp"
#include "shoal/work_queue.hpp"

namespace shoal {

/// The deadline `timeout` after `begin`, or `forever`.
inline deadline later_by(std::chrono::nanoseconds timeout, deadline begin) noexcept {
  return timeout < forever - begin ? begin + timeout : forever;
}

/// A pool: what it has submitted, the thread that receives the outcomes, and the supervisor of its workers.
class pool::impl {
 public:
  impl(std::size_t workers, const pool_options& options);
  impl(const impl&) = delete;
  impl& operator=(const impl&) = delete;
  ~impl();

  [[nodiscard]] bool is_owner() const noexcept { return os::generation() == generation_; }
  [[nodiscard]] std::shared_ptr<detail::task_owner> owner() const noexcept;
  [[nodiscard]] const task_options& defaults() const noexcept { return defaults_; }

  void submit(detail::task_function run, std::span<const const_bytes> arguments,
              std::shared_ptr<detail::completion> outcome, const task_options& options);

  /// Adds to `submitted`, which is also the index of the first, how many of them are.
  void submit(detail::task_function run, const detail::task_batch& batch, detail::completion& outcomes,
              std::size_t& submitted, const task_options& options);

  void close();
  void wait();
  void terminate();

 private:
  class link;

  enum class ending {
    none,
    orderly,   // what was submitted is still run
    by_force,  // workers are being killed
  };

  // Submitting. Those with "locked" in their names are called with mutex_ held.
  [[nodiscard]] std::unique_ptr<task_terms> terms_of(detail::task_function run, std::span<const const_bytes> arguments,
                                                     const task_options& options) const;
  void submit_locked(detail::task_function run, std::span<const const_bytes> arguments, unfinished_task&& entered);
  void check_open_locked() const;
  void enter_locked(unfinished_task&& entered);
  unfinished_task withdraw_locked() noexcept;
  void watch_locked(std::chrono::nanoseconds timeout);
  void forget_locked(const unfinished_task& gone) noexcept;
  [[nodiscard]] unfinished_task take_locked(std::uint64_t ticket);

  // Receiving, until there is no worker left and never will be.
  void receive();
  void receive_some(outcome_batch& batch, std::vector<unfinished_task>& finished);
  void deliver(const outcome& received, unfinished_task& task);
  [[nodiscard]] bool bury_worker(std::size_t slot);
  void fail(unfinished_task& task, std::exception_ptr reason, bool worker_died);
  [[nodiscard]] bool run_again(unfinished_task& failed, const std::exception_ptr& reason, bool worker_died);
  void fail_unfinished();
  void delivered(std::size_t count = 1);

  [[nodiscard]] unfinished_task call_off(const detail::task_core& chosen);
  deadline end_overdue_tasks();
  [[nodiscard]] deadline end_if_overdue_locked(std::size_t slot, deadline now, std::vector<unfinished_task>& overdue);

  void close(const std::string& reason, ending how);
  void end_workers_locked();
  [[nodiscard]] bool is_being_killed();
  [[nodiscard]] std::exception_ptr closed_error(std::uint64_t task) noexcept;
  [[nodiscard]] std::exception_ptr death_of_worker(std::size_t slot, std::uint64_t task) const noexcept;
  [[nodiscard]] bool is_own_thread() const noexcept;

  const std::uint64_t generation_ = os::generation();
  const task_options defaults_;
  const std::size_t max_memory_;
  work_queue work_;

  std::mutex mutex_;  // guards everything down to the blank line; taken before the work queue's and the supervisor's
  std::condition_variable all_done_;
  unfinished_tasks unfinished_;
  std::map<std::chrono::nanoseconds, std::size_t> timeouts_;  // of unfinished tasks: how many have each
  deadline looks_at_ = forever;                               // when end_overdue_tasks() is called next
  std::size_t delivering_ = 0;  // taken out of unfinished_, and not with their receivers yet
  ending ending_ = ending::none;
  std::string why_closed_;

  std::shared_ptr<link> link_;
  supervisor supervisor_;
  std::thread receiver_;
  std::array<std::thread::id, 2> own_threads_;  // also when they have ended; no task is there before they are
};

}  // namespace shoal
