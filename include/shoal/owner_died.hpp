#pragma once

#include <string>

#include "shoal/error.hpp"
#include "shoal/lock_holder.hpp"

namespace shoal {

/// Thrown by lock() and its relatives, with the lock held: a thread or process has ended that held it, and what the
/// lock guards may be half changed. Its code equals `std::errc::owner_dead`.
///
/// Put what it guards right, call `consistent()` on the lock, and go on; or unlock it without, and all who wait for it,
/// now and later, are told `std::errc::state_not_recoverable` instead of working on with damaged data. The same as
/// with a robust pthread_mutex_t: see pthread_mutex_consistent(3).
class owner_died : public error {
 public:
  explicit owner_died(const std::string& what_was_locked, const lock_holder& dead);

  /// Who has died; process 0 if that is not known any more.
  [[nodiscard]] const lock_holder& dead() const noexcept { return dead_; }

 private:
  lock_holder dead_;
};

}  // namespace shoal
