#pragma once

#include <chrono>
#include <coroutine>
#include <future>
#include <memory>
#include <type_traits>
#include <utility>

#include "shoal/deadline.hpp"
#include "shoal/detail/task_core.hpp"
#include "shoal/task_error.hpp"

namespace shoal {
namespace detail {

[[noreturn]] void throw_no_task();

template <class T, class F>
class task_continuation;

}  // namespace detail

/// The result, some time, of what a worker of a pool runs; made by pool::submit.
///
///     shoal::task<int> lines = pool.submit(count_lines, "README.md");
///     std::cout << lines.get();
///     int more = co_await pool.submit(count_lines, "CHANGELOG.md");      // in any coroutine
///
/// Destroyed before the result is there it waits for nothing, and the function is run all the same. It may outlive the
/// pool, whose end gives every task an outcome.
///
/// Threads: as any value, concurrent calls of const members only. fork: a child's copy has no outcome to expect;
/// waiting for it is a std::logic_error.
template <class T>
class task {
 public:
  task() noexcept = default;
  task(task&&) noexcept = default;
  task& operator=(task&&) noexcept = default;
  task(const task&) = delete;
  task& operator=(const task&) = delete;
  ~task() = default;

  /// It has a result that was not asked for yet, or will have. If not, all members but this one throw
  /// std::future_error, no_state.
  [[nodiscard]] bool valid() const noexcept { return state_ != nullptr; }

  /// Waits for the outcome, and returns or throws it. Afterwards valid() is false.
  /// @throws remote_error           an exception left the function; one of the standard library, or one that
  ///     register_exception knows, is thrown as what it was, with the remote_error nested in it.
  /// @throws worker_died            its process ended meanwhile.
  /// @throws task_timed_out         it ran longer than it may.
  /// @throws memory_limit_exceeded  it needed more memory than its worker may have.
  /// @throws task_cancelled         it was cancelled.
  /// @throws shoal::error           errc::closed: the pool was terminated, or gave up. errc::unknown_function: the
  ///     function's code is not in the worker.
  /// @throws std::logic_error       waiting here would never end, see wait().
  T get() {
    wait();
    const std::shared_ptr<detail::task_state<T>> state = std::move(state_);
    return state->take();
  }

  /// @throws std::logic_error  called by a continuation, which would keep the outcome from coming; or in a fork.
  void wait() const { state().wait_until(deadline::max()); }

  /// @return ready or timeout
  template <class Rep, class Period>
  [[nodiscard]] std::future_status wait_for(std::chrono::duration<Rep, Period> timeout) const {
    return wait_until(after(timeout));
  }
  [[nodiscard]] std::future_status wait_until(deadline until) const {
    return state().wait_until(until) ? std::future_status::ready : std::future_status::timeout;
  }

  /// The outcome is there.
  [[nodiscard]] bool ready() const { return state().ready(); }

  /// Calls it off: if no worker has begun it, it will never run; if one is running it, that worker is killed, and a new
  /// one takes its place. Either way the outcome is task_cancelled. Of what then() made it calls off the task before.
  /// (One that waits may run all the same while more than a million tasks of its pool have no outcome.)
  /// @return false if the outcome is there already.
  bool cancel() { return state().cancel(); }  // NOLINT(readability-make-member-function-const)

  /// Calls f(task) with this one when its outcome is there, and returns the task whose result that is. Afterwards
  /// valid() is false.
  ///
  /// f runs in this process: in the pool's thread that brings the outcomes, or, if the outcome is there, in the
  /// caller's now. So it should be short, and must not wait for a task of the same pool; it may submit some.
  template <class F>
  auto then(F&& f) {
    using result = std::decay_t<std::invoke_result_t<std::decay_t<F>, task>>;
    (void)state();
    auto next = std::make_shared<detail::task_state<result>>(state_->owner(), state_);
    // Deletes itself when it has run, which every task's end sees to.
    auto* const step = new detail::task_continuation<T, std::decay_t<F>>(std::move(*this), std::forward<F>(f), next);
    step->attach();
    return task<result>(std::move(next));
  }

  /// `co_await std::move(task)` is get() without blocking the thread. The coroutine goes on in the pool's thread that
  /// brings the outcomes, as the function of then() would; see shoal/asio.hpp for coroutines of Asio.
  auto operator co_await() && {
    (void)state();
    return awaiter(std::move(state_));
  }

  /// A descriptor that polls readable when the outcome is there. It stays the task's.
  /// @throws std::system_error  no descriptor left.
  [[nodiscard]] int native_handle() { return state().native_handle(); }

 private:
  friend class pool;
  template <class, class>
  friend class lazy_results;
  template <class>
  friend class task;
  template <class, class>
  friend class detail::task_continuation;

  class awaiter final : public detail::continuation {
   public:
    explicit awaiter(std::shared_ptr<detail::task_state<T>> state) noexcept : state_(std::move(state)) {}
    [[nodiscard]] bool await_ready() const noexcept { return state_->ready(); }
    void await_suspend(std::coroutine_handle<> caller) noexcept {
      caller_ = caller;
      const std::shared_ptr<detail::task_state<T>> kept = state_;  // the coroutine may end, and this object with it
      kept->continue_with(*this);
    }
    T await_resume() { return state_->take(); }

   private:
    void run() noexcept override { caller_.resume(); }

    std::shared_ptr<detail::task_state<T>> state_;
    std::coroutine_handle<> caller_;
  };

  explicit task(std::shared_ptr<detail::task_state<T>> state) noexcept : state_(std::move(state)) {}

  [[nodiscard]] detail::task_state<T>& state() const {
    if (state_ == nullptr) {
      detail::throw_no_task();
    }
    return *state_;
  }

  std::shared_ptr<detail::task_state<T>> state_;
};

namespace detail {

template <class T, class F>
class task_continuation final : public continuation {
 public:
  using result = std::decay_t<std::invoke_result_t<F, task<T>>>;

  template <class Given>
  task_continuation(task<T> before, Given&& function, std::shared_ptr<task_state<result>> next)
      : before_(std::move(before)), function_(std::forward<Given>(function)), next_(std::move(next)) {}

  void attach() noexcept {
    const std::shared_ptr<task_state<T>> kept = before_.state_;  // this may be deleted meanwhile
    kept->continue_with(*this);
  }

  void run() noexcept override {
    const std::unique_ptr<task_continuation> self(this);
    next_->set([&]() -> result { return std::invoke(std::move(function_), std::move(before_)); });
  }

 private:
  task<T> before_;
  F function_;
  std::shared_ptr<task_state<result>> next_;
};

}  // namespace detail
}  // namespace shoal
