#pragma once

// The state that a task and its pool share, in the process that made the pool.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "shoal/deadline.hpp"
#include "shoal/detail/pool_task.hpp"

namespace shoal::detail {

/// What is called, once, when a task has its outcome.
class continuation {
 public:
  continuation() = default;
  continuation(const continuation&) = delete;
  continuation& operator=(const continuation&) = delete;
  virtual ~continuation() = default;

  virtual void run() noexcept = 0;
};

class task_core;

/// A pool, as its tasks know it, also after its end.
class task_owner {
 public:
  virtual ~task_owner() = default;

  /// See task::cancel().
  virtual bool cancel(task_core& chosen) = 0;

  /// @throws std::logic_error  this thread would wait for ever, because it is the one that brings the outcomes, or not
  ///     of the process that does.
  virtual void check_wait() const = 0;
};

/// All but the result of a task, and of what was made of one by then().
///
/// Threads: set_ready() by one; the others by any.
class task_core : public completion {
 public:
  explicit task_core(std::shared_ptr<task_owner> owner, std::shared_ptr<task_core> source = {}) noexcept
      : owner_(std::move(owner)), source_(std::move(source)) {}
  task_core(const task_core&) = delete;
  task_core& operator=(const task_core&) = delete;
  ~task_core() override;

  [[nodiscard]] bool ready() const noexcept { return word_.load(std::memory_order_acquire) == is_ready; }

  /// @return whether it is ready. @throws std::logic_error  see task_owner::check_wait().
  bool wait_until(deadline until) const;

  /// Has `next` called when the outcome is there: by the thread that brings it, or, if it is there, now. For one
  /// continuation only, which must live until then.
  void continue_with(continuation& next) noexcept;

  bool cancel();

  /// A descriptor that polls readable when the outcome is there.
  int native_handle();

  [[nodiscard]] const std::shared_ptr<task_owner>& owner() const noexcept { return owner_; }

  /// Its latest ticket: it has another one each time it is run again. For the owner, under a lock of its.
  [[nodiscard]] std::uint64_t ticket() const noexcept { return ticket_; }
  void submitted(std::size_t /*index*/, std::uint64_t ticket) noexcept final { ticket_ = ticket; }

 protected:
  void set_ready() noexcept;

 private:
  static constexpr std::uint32_t is_pending = 0;
  static constexpr std::uint32_t is_awaited = 1;  // and somebody may sleep on the word
  static constexpr std::uint32_t is_ready = 2;

  mutable std::atomic<std::uint32_t> word_{is_pending};
  std::atomic<int> readiness_{-1};            // an eventfd, if one was asked for
  std::atomic<continuation*> next_{nullptr};  // when ready: anything else
  std::shared_ptr<task_owner> owner_;
  std::shared_ptr<task_core> source_;  // of what then() made: the task before
  std::uint64_t ticket_ = 0;
};

template <class R>
class task_state : public task_core {
 public:
  using task_core::task_core;

  /// Of a state that is ready, once. @throws  what the task failed with.
  R take() {
    if (failure_ != nullptr) {
      std::rethrow_exception(std::exchange(failure_, nullptr));
    }
    if constexpr (!std::is_void_v<R>) {
      return std::move(*value_);
    }
  }

  /// Sets the outcome to what `make` returns or throws.
  template <class Make>
  void set(Make&& make) noexcept {
    try {
      if constexpr (std::is_void_v<R>) {
        std::forward<Make>(make)();
      } else {
        value_.emplace(std::forward<Make>(make)());
      }
    } catch (...) {
      failure_ = std::current_exception();
    }
    set_ready();
  }

  void succeed(std::size_t /*index*/, decoder result) noexcept override {
    set([&]() -> R {
      if constexpr (!std::is_void_v<R>) {
        return receive<R>(result);
      }
    });
  }
  void fail(std::size_t /*index*/, std::exception_ptr reason) noexcept override {
    failure_ = std::move(reason);
    set_ready();
  }

 private:
  struct nothing {};
  std::optional<std::conditional_t<std::is_void_v<R>, nothing, R>> value_;
  std::exception_ptr failure_;
};

}  // namespace shoal::detail
