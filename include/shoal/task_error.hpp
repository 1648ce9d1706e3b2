#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>

namespace shoal {

/// The outcome of a task that was called off by task::cancel().
class task_cancelled : public std::runtime_error {
 public:
  explicit task_cancelled(std::uint64_t task);
};

/// The outcome of a task that ran longer than it may; its worker was killed. It may have done part of its work.
class task_timed_out : public std::runtime_error {
 public:
  task_timed_out(std::uint64_t task, std::chrono::nanoseconds timeout);

  [[nodiscard]] std::uint64_t task() const noexcept { return task_; }  ///< as worker_died::task()
  [[nodiscard]] std::chrono::nanoseconds timeout() const noexcept { return timeout_; }

 private:
  std::uint64_t task_;
  std::chrono::nanoseconds timeout_;
};

/// The outcome of a task that a std::bad_alloc has left, in a worker whose memory is limited by pool_options.
class memory_limit_exceeded : public std::bad_alloc {
 public:
  memory_limit_exceeded(std::uint64_t task, std::size_t limit);
  [[nodiscard]] const char* what() const noexcept override { return text_->c_str(); }

 private:
  std::shared_ptr<const std::string> text_;  // copying an exception must not throw
};

}  // namespace shoal
