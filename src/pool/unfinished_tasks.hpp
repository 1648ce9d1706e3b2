#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "shoal/detail/pool_task.hpp"
#include "shoal/pool_options.hpp"

namespace shoal {

/// What there is to know of a task that has a time limit or may be run again.
struct task_terms {
  std::optional<std::chrono::nanoseconds> timeout;
  std::size_t retries_left = 0;
  std::function<bool(const std::exception_ptr&)> retry_if;
  detail::task_function run = nullptr;
  std::vector<std::byte> arguments;  // kept if it may be run again
};

struct unfinished_task {
  std::shared_ptr<detail::completion> outcome;  // null: it is finished, and this is no task
  std::size_t index = 0;                        // there
  std::uint64_t number = 0;                     // its first ticket, by which messages name it
  std::unique_ptr<task_terms> terms;            // null: none
};

/// The tasks that wait for their outcomes, by ticket. Tickets come in order and go in about that order, so a window
/// over them is kept. Not for threads.
class unfinished_tasks {
 public:
  /// Adds the task that gets the next ticket.
  unfinished_task& add(unfinished_task&& added) {
    window_.push_back(std::move(added));
    ++count_;
    return window_.back();
  }

  /// Takes back what was added last.
  unfinished_task withdraw() noexcept {
    unfinished_task last = std::move(window_.back());
    window_.pop_back();
    --count_;
    return last;
  }

  [[nodiscard]] std::uint64_t next_ticket() const noexcept { return first_ + window_.size(); }
  [[nodiscard]] bool empty() const noexcept { return count_ == 0; }

  /// Null if it is finished, or there never was one.
  [[nodiscard]] unfinished_task* find(std::uint64_t ticket) noexcept {
    if (ticket < first_ || ticket >= next_ticket() || window_[ticket - first_].outcome == nullptr) {
      return nullptr;
    }
    return &window_[ticket - first_];
  }

  /// The task, which is finished then; of an unknown one an empty one.
  unfinished_task take(std::uint64_t ticket) noexcept {
    unfinished_task* const found = find(ticket);
    if (found == nullptr) {
      return {};
    }
    unfinished_task taken = std::exchange(*found, {});
    --count_;
    while (!window_.empty() && window_.front().outcome == nullptr) {
      window_.pop_front();
      ++first_;
    }
    return taken;
  }

  /// Of the oldest. There must be one.
  [[nodiscard]] std::uint64_t first_ticket() const noexcept { return first_; }

 private:
  std::uint64_t first_ = 0;  // ticket of the first in the window, which is not finished
  std::deque<unfinished_task> window_;
  std::size_t count_ = 0;  // of those that are not finished
};

}  // namespace shoal
