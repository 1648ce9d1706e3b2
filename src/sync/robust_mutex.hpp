#pragma once

#include <pthread.h>

#include "shoal/deadline.hpp"

namespace shoal::sync {

/// How an attempt to lock ended. After `acquired` and `owner_died` the caller holds the lock.
enum class lock_result {
  acquired,
  owner_died,
  timed_out,
  unusable,  ///< no lock is there: its memory was written over
};

/// A mutex in shared memory whose holder may die.
///
/// `owner_died` obliges the caller to repair what the lock guards and then to call consistent(), before it unlocks.
/// Dying meanwhile is allowed: the next one is told again. Not recursive. See pthread_mutexattr_setrobust(3).
class robust_mutex {
 public:
  /// For memory that is zero and not yet shared. There is no destructor: the lock lives as long as its segment.
  void initialize();

  lock_result try_lock() noexcept;

  /// Tries for a few microseconds, longer than a short critical section lasts; never sleeps.
  lock_result spin_lock() noexcept;

  /// Sleeps until the lock comes free or `until` has passed.
  lock_result lock_until(deadline until) noexcept;

  void unlock() noexcept { ::pthread_mutex_unlock(&mutex_); }
  void consistent() noexcept { ::pthread_mutex_consistent(&mutex_); }

 private:
  pthread_mutex_t mutex_;
};

}  // namespace shoal::sync
