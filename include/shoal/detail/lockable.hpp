#pragma once

#include <chrono>
#include <concepts>

// The standard's named requirements of locks ([thread.req.lockable], [thread.sharedtimedmutex.requirements]), so that
// each of our mutexes can be checked against what std::unique_lock and its like will ask of it.
namespace shoal::detail {

template <class Lock>
concept basic_lockable = requires(Lock& lock) {
  lock.lock();
  lock.unlock();
};

template <class Lock>
concept lockable = basic_lockable<Lock> && requires(Lock& lock) {
  { lock.try_lock() } -> std::convertible_to<bool>;
};

template <class Lock>
concept timed_lockable = lockable<Lock> &&
    requires(Lock& lock, std::chrono::milliseconds duration, std::chrono::duration<double> fraction,
             std::chrono::steady_clock::time_point time, std::chrono::system_clock::time_point date) {
  { lock.try_lock_for(duration) } -> std::convertible_to<bool>;
  { lock.try_lock_for(fraction) } -> std::convertible_to<bool>;
  { lock.try_lock_until(time) } -> std::convertible_to<bool>;
  { lock.try_lock_until(date) } -> std::convertible_to<bool>;
};

template <class Lock>
concept shared_lockable = requires(Lock& lock) {
  lock.lock_shared();
  { lock.try_lock_shared() } -> std::convertible_to<bool>;
  lock.unlock_shared();
};

template <class Lock>
concept shared_timed_lockable = shared_lockable<Lock> &&
    requires(Lock& lock, std::chrono::milliseconds duration, std::chrono::duration<double> fraction,
             std::chrono::steady_clock::time_point time, std::chrono::system_clock::time_point date) {
  { lock.try_lock_shared_for(duration) } -> std::convertible_to<bool>;
  { lock.try_lock_shared_for(fraction) } -> std::convertible_to<bool>;
  { lock.try_lock_shared_until(time) } -> std::convertible_to<bool>;
  { lock.try_lock_shared_until(date) } -> std::convertible_to<bool>;
};

}  // namespace shoal::detail
