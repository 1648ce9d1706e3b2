#pragma once

#include <atomic>
#include <cstdint>
#include <optional>

#include "memory/segment.hpp"
#include "queue/layout.hpp"

namespace shoal::queue {

/// Which records are out on lease, and which have come back from it. All under the head lock, but for what says
/// otherwise.
class lease_ledger {
 public:
  lease_ledger(const memory::segment& segment, control& shared) noexcept;

  [[nodiscard]] ledger_entry& operator[](std::uint32_t index) const noexcept { return entries_[index]; }

  /// The index of a free entry. @throws std::bad_alloc  no memory, or there are too many already.
  [[nodiscard]] std::uint32_t find_free();

  /// Writes down the lease of a record that is about to be popped. It counts once popped() is beyond the ticket.
  void write(std::uint32_t index, std::uint64_t ticket, const position& at, std::uint64_t owner) noexcept;

  /// Whether anything may be out on lease.
  [[nodiscard]] bool has_active() const noexcept { return state_->active.load(std::memory_order_relaxed) != 0; }

  [[nodiscard]] bool has_returned() const noexcept {
    return shared_->head.returned.load(std::memory_order_relaxed) != 0;
  }
  /// The oldest of the returned ones, if there is one.
  [[nodiscard]] std::optional<std::uint32_t> oldest_returned() const noexcept;

  /// COMMIT: a returned record is taken again, on lease by `owner`, or for good (free_lease).
  void take_returned(std::uint32_t index, std::uint64_t owner) noexcept;

  /// Throws away all that have come back. @return how many.
  std::uint32_t drop_returned() noexcept;

  /// COMMIT: a record waits at the front of the queue again. The queue must be readable already.
  void put_back(std::uint32_t index) noexcept;

  /// Whether a process that has something on lease is dead; counts what is out.
  [[nodiscard]] bool has_dead_holders() noexcept;
  /// Whether a process that has something on lease has begun to end and still owns it.
  [[nodiscard]] bool has_dying_holders() const noexcept;
  /// Puts back what dead processes have on lease. @return how many.
  std::uint32_t put_back_of_the_dead() noexcept;

  /// After the death of the lock's holder: drops what it had not popped, and counts what has been returned.
  void recover() noexcept;

  /// How many are out on lease, at some moment. Needs no lock.
  [[nodiscard]] std::uint32_t count() const noexcept;

 private:
  [[nodiscard]] std::uint32_t used() const noexcept;

  const memory::segment* segment_;
  control* shared_;
  ledger_state* state_;
  std::uint32_t limit_;
  ledger_entry* entries_;
};

}  // namespace shoal::queue
