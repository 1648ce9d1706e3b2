#pragma once

#include <chrono>
#include <memory>

#include "shoal/deadline.hpp"
#include "shoal/detail/arena_slot.hpp"
#include "shoal/event.hpp"

namespace shoal {

/// By which a process learns that it is asked to stop: std::stop_token across processes, but for callbacks.
///
/// Threads: all members but assignment may be called concurrently. fork: the child shares it. Other processes: pass it
/// as an argument, or construct one from native_handle(). Kill-safety: as event.
class stop_token {
 public:
  using native_handle_type = slot_location;

  /// Nobody can ask.
  stop_token() noexcept = default;
  /// @throws shoal::error       there is none. @throws std::system_error  a descriptor is not open.
  explicit stop_token(const native_handle_type& handle)
      : requested_(handle.arena < 0 ? nullptr : std::make_shared<event>(handle)) {}

  [[nodiscard]] bool stop_requested() const noexcept { return requested_ != nullptr && requested_->is_set(); }
  [[nodiscard]] bool stop_possible() const noexcept { return requested_ != nullptr; }

  /// Sleeps until it is asked to stop or the time is over. @return stop_requested()
  template <class Rep, class Period>
  bool wait_for(const std::chrono::duration<Rep, Period>& timeout) const {
    return wait_until(after(timeout));
  }
  bool wait_until(deadline until) const;

  /// A descriptor that polls readable when it is asked to stop; valid as long as this token. -1 if nobody can ask.
  /// @throws std::system_error  no descriptor left.
  [[nodiscard]] int readiness_handle() const { return requested_ != nullptr ? requested_->readiness_handle() : -1; }

  /// For another process. @throws std::system_error  no descriptor left.
  [[nodiscard]] native_handle_type native_handle() const {
    return requested_ != nullptr ? requested_->native_handle() : native_handle_type{};
  }

 private:
  friend class stop_source;
  explicit stop_token(std::shared_ptr<event> requested) noexcept : requested_(std::move(requested)) {}

  std::shared_ptr<event> requested_;
};

/// By which processes are asked to stop. Copies, also those in other processes, are about the same request.
///
/// Threads, fork, other processes, kill-safety: as stop_token.
class stop_source {
 public:
  using native_handle_type = slot_location;

  /// @throws std::system_error, std::bad_alloc  no descriptor or memory left.
  stop_source() : requested_(std::make_shared<event>()) {}
  /// @throws shoal::error       there is none. @throws std::system_error  a descriptor is not open.
  explicit stop_source(const native_handle_type& handle) : requested_(std::make_shared<event>(handle)) {}

  /// Wakes all who wait for it. @return false if it was requested before.
  bool request_stop() const noexcept {
    const bool is_first = !requested_->is_set();
    requested_->set();
    return is_first;
  }
  [[nodiscard]] bool stop_requested() const noexcept { return requested_->is_set(); }
  [[nodiscard]] stop_token get_token() const noexcept { return stop_token(requested_); }

  /// For another process. @throws std::system_error  no descriptor left.
  [[nodiscard]] native_handle_type native_handle() const { return requested_->native_handle(); }

 private:
  std::shared_ptr<event> requested_;
};

}  // namespace shoal
