#include "shoal/mutex.hpp"

#include "sync/lock_errors.hpp"
#include "sync/owner_lock.hpp"

namespace shoal {
namespace {

constexpr const char* kind = "mutex";

}  // namespace

mutex::mutex(std::string_view label) : lock_(std::make_unique<sync::owner_lock>(memory::slot_kind::mutex, label)) {}
mutex::mutex(native_handle_type handle) : lock_(std::make_unique<sync::owner_lock>(memory::slot_kind::mutex, handle)) {}
mutex::mutex(mutex&&) noexcept = default;
mutex& mutex::operator=(mutex&&) noexcept = default;
mutex::~mutex() = default;

void mutex::lock() {
  while (!lock_until(forever)) {
  }
}

bool mutex::try_lock() { return sync::held_after(lock_->try_lock(), kind, *lock_); }

bool mutex::lock_until(deadline until) {
  const sync::lock_attempt attempt = lock_->try_lock();
  if (attempt.status != sync::lock_status::timed_out || until == no_waiting) {
    return sync::held_after(attempt, kind, *lock_);
  }
  if (until == forever && lock_->is_mine()) {
    sync::throw_would_deadlock(kind, *lock_);
  }
  return sync::held_after(lock_->lock_uninterrupted(until), kind, *lock_);
}

void mutex::unlock() {
  if (!lock_->unlock()) {
    sync::throw_not_held(kind, *lock_);
  }
}

void mutex::consistent() noexcept { lock_->consistent(); }
std::optional<lock_holder> mutex::holder() const { return lock_->holder(); }
std::string mutex::label() const { return lock_->label(); }
slot_location mutex::native_handle() noexcept { return lock_->location(); }

}  // namespace shoal
