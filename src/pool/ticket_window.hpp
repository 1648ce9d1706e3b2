#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>

namespace shoal {

/// The tickets that have no outcome yet. Tickets are issued in order and settled in about that order, so a window over
/// them is kept: a byte for every ticket from the oldest unsettled one to the newest.
class ticket_window {
 public:
  enum class state : std::uint8_t { settled, open, called_off };

  /// Issues the `count` tickets from next() on. @throws std::bad_alloc  nothing was issued.
  void issue(std::size_t count) {
    states_.insert(states_.end(), count, state::open);
    unsettled_ += count;
  }

  /// Takes back the `count` tickets issued last.
  void withdraw(std::size_t count) noexcept {
    states_.erase(states_.end() - static_cast<std::ptrdiff_t>(count), states_.end());
    unsettled_ -= count;
  }

  [[nodiscard]] state of(std::uint64_t ticket) const noexcept {
    return ticket < first_ || ticket >= next() ? state::settled : states_[ticket - first_];
  }

  /// The ticket must be open.
  void call_off(std::uint64_t ticket) noexcept { states_[ticket - first_] = state::called_off; }
  /// The ticket must be called off.
  void reopen(std::uint64_t ticket) noexcept { states_[ticket - first_] = state::open; }

  /// @return what the ticket was; `settled` if it was never issued.
  state settle(std::uint64_t ticket) noexcept {
    const state before = of(ticket);
    if (before != state::settled) {
      states_[ticket - first_] = state::settled;
      --unsettled_;
      while (!states_.empty() && states_.front() == state::settled) {
        states_.pop_front();
        ++first_;
      }
    }
    return before;
  }

  [[nodiscard]] std::uint64_t first() const noexcept { return first_; }
  [[nodiscard]] std::uint64_t next() const noexcept { return first_ + states_.size(); }
  [[nodiscard]] std::size_t count() const noexcept { return unsettled_; }

 private:
  std::uint64_t first_ = 0;
  std::deque<state> states_;
  std::size_t unsettled_ = 0;
};

}  // namespace shoal
