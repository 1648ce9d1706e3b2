#pragma once

#include <cstddef>
#include <memory>

#include "shoal/deadline.hpp"
#include "shoal/detail/arena_slot.hpp"

namespace shoal {

namespace sync {
class barrier_core;
}

namespace detail {

/// What barriers have in common, whatever they do at the end of a phase.
class barrier_base {
 public:
  static constexpr std::ptrdiff_t most_parties = 0xffff;

  explicit barrier_base(std::ptrdiff_t expected);
  explicit barrier_base(slot_location handle);
  barrier_base(barrier_base&&) noexcept;
  barrier_base& operator=(barrier_base&&) noexcept;
  ~barrier_base();

  void abort() noexcept;
  void reset() noexcept;
  [[nodiscard]] bool is_broken() const noexcept;
  [[nodiscard]] slot_location native_handle() noexcept;

  /// A thread at the barrier. Its members throw errc::broken_barrier.
  class party {
   public:
    explicit party(barrier_base& barrier);
    party(party&&) = delete;
    party& operator=(party&&) = delete;
    ~party();
    /// All: @return false if the time is over; the barrier is broken then, if this thread had arrived.
    bool arrive(deadline until);
    bool arrive_and_drop(deadline until);
    bool wait(deadline until);
    [[nodiscard]] bool is_last() const noexcept;
    void complete();
    void give_up() noexcept;

   private:
    class state;
    std::unique_ptr<state> state_;
  };

 private:
  std::unique_ptr<sync::barrier_core> core_;
};

}  // namespace detail
}  // namespace shoal
