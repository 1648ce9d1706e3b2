#pragma once

#include <Python.h>

#include <cstdint>
#include <string_view>

#include "shoal/deadline.hpp"
#include "slots.hpp"
#include "sync/owner_lock.hpp"

namespace shoal::python {

/// Whether a lock whose holder has died, which is raised, stays locked for the one who is told.
enum class after_death { keep_it, give_it_back };

/// shoal._core.Lock and RLock: an owner_lock that is free when the process ends whose thread has it.
///
/// Call all of it with the GIL. `self` is the Python object that it belongs to, for what an error says.
class python_lock {
 public:
  static constexpr auto ends = sync::ends_with::process;

  /// `recovers`: the death of a holder is not told.
  python_lock(memory::slot_kind kind, std::string_view label, bool recovers)
      : lock_(kind, label), recovers_(recovers) {}
  python_lock(memory::slot_kind kind, const location& place, bool recovers)
      : lock_(kind, slot_at(place)), recovers_(recovers) {}

  /// Locks it at once, if that is to be had; a recursive one also if this thread holds it already.
  /// @throws nb::python_error  OwnerDied, with the lock held or given back as `after` says.
  bool try_acquire(PyObject* self, after_death after = after_death::keep_it) {
    const sync::lock_attempt attempt = try_lock();
    return attempt.status == sync::lock_status::acquired || held_after(self, attempt, after);
  }
  /// Waits for it. @return false if it was not to be had until then.
  /// @throws nb::python_error  as try_acquire; what a signal handler raised.
  bool acquire(PyObject* self, deadline until, after_death after = after_death::keep_it) {
    return try_acquire(self, after) || (until != no_waiting && wait(self, until, after));
  }

  /// Unlocks it once. @throws nb::python_error  ValueError: nobody holds it; AssertionError: recursive, and another
  /// does.
  void release() {
    if (!(is_recursive() ? lock_.unlock() : lock_.release())) {
      raise_not_held();
    }
  }

  /// Unlocks it, which this thread holds, however often. @return how often it was locked, for acquire_again().
  std::uint32_t release_all();
  /// Locks it as often as before. What a first signal handler raises has to wait for that; a second one's is raised
  /// with the lock not held.
  void acquire_again(PyObject* self, std::uint32_t times);

  [[nodiscard]] bool is_mine() const { return lock_.is_mine(); }
  /// How often a thread of this process holds it.
  [[nodiscard]] std::uint32_t count() const;
  [[nodiscard]] bool is_locked() const noexcept { return lock_.is_locked(); }
  [[nodiscard]] bool is_recursive() const noexcept { return recursive_; }
  [[nodiscard]] bool recovers() const noexcept { return recovers_; }
  [[nodiscard]] sync::owner_lock& lock() noexcept { return lock_; }

 private:
  [[nodiscard]] sync::lock_attempt try_lock() {
    return is_recursive() && lock_.lock_again() ? sync::lock_attempt{} : lock_.try_lock(ends);
  }
  bool wait(PyObject* self, deadline until, after_death after);
  bool held_after(PyObject* self, const sync::lock_attempt& attempt, after_death after);
  [[noreturn]] void raise_not_held() const;

  sync::owner_lock lock_;
  bool recovers_;

 protected:
  bool recursive_ = false;
};

/// Two classes, since Python has two.
class plain_lock : public python_lock {
 public:
  static constexpr auto kind = memory::slot_kind::mutex;
  plain_lock(std::string_view label, bool recovers) : python_lock(kind, label, recovers) {}
  plain_lock(const location& place, bool recovers) : python_lock(kind, place, recovers) {}
};

class recursive_lock : public python_lock {
 public:
  static constexpr auto kind = memory::slot_kind::recursive_mutex;
  recursive_lock(std::string_view label, bool recovers) : python_lock(kind, label, recovers) { recursive_ = true; }
  recursive_lock(const location& place, bool recovers) : python_lock(kind, place, recovers) { recursive_ = true; }
};

/// The lock in a shoal Lock or RLock, or in an instance of a subclass that has not changed what it is to acquire and
/// release it; nullptr in any other object, which has to be asked. Lives as long as the object.
[[nodiscard]] python_lock* native_lock(PyObject* object) noexcept;

}  // namespace shoal::python
