#pragma once

#include <string_view>

#include "sync/owner_lock.hpp"

namespace shoal::sync {

/// A lock that many share or one has alone.
///
/// There is no count of readers that a death could leave wrong: each reader says in its own thread's record what it
/// reads, and a writer, which keeps new readers out by then, looks at the records of the living until none does. (The
/// two check each other as in Dekker's algorithm: each announces itself, and then looks for the other.)
///
/// Writers go first: readers wait while one holds it or waits for readers to leave.
/// Threads, fork: as arena_slot; all members may be called concurrently. Kill-safety: at any instruction.
class shared_lock {
 public:
  explicit shared_lock(std::string_view label = {}) : lock_(memory::slot_kind::shared_mutex, label) {}
  explicit shared_lock(slot_location location) : lock_(memory::slot_kind::shared_mutex, location) {}

  /// Not interrupted by signals.
  [[nodiscard]] lock_attempt lock_until(deadline until);
  [[nodiscard]] bool unlock() noexcept { return lock_.unlock(); }

  /// `owner_died`: the lock is held, shared, and a writer has died; so it will be until a writer has called
  /// consistent(). @throws std::system_error  this thread shares thread_record::most_shared_holds locks already.
  [[nodiscard]] lock_attempt lock_shared_until(deadline until);
  /// @return false if the calling thread does not share it.
  bool unlock_shared() noexcept;

  [[nodiscard]] owner_lock& writer() noexcept { return lock_; }
  [[nodiscard]] const owner_lock& writer() const noexcept { return lock_; }

 private:
  struct reader {
    std::atomic<std::uint32_t>* hold = nullptr;
    owner_id thread = 0;
  };
  [[nodiscard]] reader living_reader() const noexcept;
  void wait_for(const reader& somebody, deadline until);

  owner_lock lock_;
  adaptive_spin spin_;
};

}  // namespace shoal::sync
