#pragma once

#include <chrono>
#include <memory>

#include "shoal/deadline.hpp"
#include "shoal/event.hpp"

namespace shoal {

/// Tells a function that it is asked to stop, as std::stop_token, but from another process.
///
/// Whoever asks has the `stop_source`. Asking is all it does: the function looks, or waits for it, and returns.
///
/// Threads: as a value; const members of one object may be called concurrently. Processes: forks share what it refers
/// to, and so do those who are given it as an argument. Kill-safety: at any instruction, as `event`.
class stop_token {
 public:
  using native_handle_type = event::native_handle_type;

  /// One that nobody can stop.
  stop_token() noexcept = default;

  /// The one of another process. Throws what `event` throws.
  explicit stop_token(native_handle_type handle) : requested_(std::make_shared<event>(handle)) {}

  /// There is, or was, a source that can stop it.
  [[nodiscard]] bool stop_possible() const noexcept { return requested_ != nullptr; }
  [[nodiscard]] bool stop_requested() const noexcept { return requested_ != nullptr && requested_->is_set(); }

  /// Sleeps until it is asked to stop: how a loop that does something now and then waits.
  /// @return false if it was not asked for so long.
  template <class Rep, class Period>
  [[nodiscard]] bool wait_for(const std::chrono::duration<Rep, Period>& timeout) const {
    return wait_until(after(timeout));
  }
  [[nodiscard]] bool wait_until(deadline until) const;

  /// For another process; there must be a source.
  [[nodiscard]] native_handle_type native_handle() const { return requested_->native_handle(); }

  /// Of the same source, or both of none.
  friend bool operator==(const stop_token&, const stop_token&) noexcept = default;

 private:
  friend class stop_source;
  explicit stop_token(std::shared_ptr<event> requested) noexcept : requested_(std::move(requested)) {}

  std::shared_ptr<event> requested_;
};

/// Asks functions to stop, in any process that has a token of it. Copies are the same source.
///
/// Threads, processes, kill-safety: as `stop_token`.
class stop_source {
 public:
  using native_handle_type = event::native_handle_type;

  /// @throws std::system_error, std::bad_alloc  no descriptor or memory left.
  stop_source() : requested_(std::make_shared<event>()) {}

  /// The one of another process. Throws what `event` throws.
  explicit stop_source(native_handle_type handle) : requested_(std::make_shared<event>(handle)) {}

  [[nodiscard]] stop_token get_token() const noexcept { return stop_token(requested_); }

  /// Cannot be taken back. Async-signal-safe.
  void request_stop() noexcept { requested_->set(); }
  [[nodiscard]] bool stop_requested() const noexcept { return requested_->is_set(); }

  [[nodiscard]] native_handle_type native_handle() const { return requested_->native_handle(); }

 private:
  std::shared_ptr<event> requested_;
};

}  // namespace shoal
