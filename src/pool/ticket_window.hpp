#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>

namespace shoal {

/// The tickets that have no outcome yet. Tickets are issued in order and settled in about that order, so a window over
/// them is kept: a byte for every ticket from the oldest unsettled one to the newest.
class ticket_window {
 public:
  /// Issues the ticket next(). @throws std::bad_alloc  nothing was issued.
  void issue() {
    unsettled_.push_back(true);
    ++count_;
  }

  /// Takes back the ticket issued last.
  void withdraw() noexcept {
    unsettled_.pop_back();
    --count_;
  }

  /// @return false if the ticket was settled before, or never issued.
  bool settle(std::uint64_t ticket) noexcept {
    if (ticket < first_ || ticket >= next() || !unsettled_[ticket - first_]) {
      return false;
    }
    unsettled_[ticket - first_] = false;
    --count_;
    while (!unsettled_.empty() && !unsettled_.front()) {
      unsettled_.pop_front();
      ++first_;
    }
    return true;
  }

  [[nodiscard]] std::uint64_t next() const noexcept { return first_ + unsettled_.size(); }
  [[nodiscard]] std::size_t count() const noexcept { return count_; }

 private:
  std::uint64_t first_ = 0;
  std::deque<bool> unsettled_;
  std::size_t count_ = 0;
};

}  // namespace shoal
