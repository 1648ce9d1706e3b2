#include "shoal/shared_mutex.hpp"

#include "sync/lock_errors.hpp"
#include "sync/shared_lock.hpp"

namespace shoal {
namespace {

constexpr const char* kind = "shared mutex";

}  // namespace

shared_mutex::shared_mutex(std::string_view label) : lock_(std::make_unique<sync::shared_lock>(label)) {}
shared_mutex::shared_mutex(native_handle_type handle) : lock_(std::make_unique<sync::shared_lock>(handle)) {}
shared_mutex::shared_mutex(shared_mutex&&) noexcept = default;
shared_mutex& shared_mutex::operator=(shared_mutex&&) noexcept = default;
shared_mutex::~shared_mutex() = default;

void shared_mutex::lock() {
  while (!lock_until(forever)) {
  }
}

bool shared_mutex::try_lock() { return lock_until(no_waiting); }

bool shared_mutex::lock_until(deadline until) {
  if (until == forever && lock_->writer().is_mine()) {
    sync::throw_would_deadlock(kind, lock_->writer());
  }
  return sync::held_after(lock_->lock_until(until), kind, lock_->writer());
}

void shared_mutex::unlock() {
  if (!lock_->unlock()) {
    sync::throw_not_held(kind, lock_->writer());
  }
}

void shared_mutex::lock_shared() {
  while (!lock_shared_until(forever)) {
  }
}

bool shared_mutex::try_lock_shared() { return lock_shared_until(no_waiting); }

bool shared_mutex::lock_shared_until(deadline until) {
  if (until == forever && lock_->writer().is_mine()) {
    sync::throw_would_deadlock(kind, lock_->writer());
  }
  for (;;) {
    const sync::lock_attempt attempt = lock_->lock_shared_until(until);
    if (attempt.status != sync::lock_status::interrupted) {
      return sync::held_after(attempt, kind, lock_->writer());
    }
  }
}

void shared_mutex::unlock_shared() {
  if (!lock_->unlock_shared()) {
    sync::throw_not_held(kind, lock_->writer());
  }
}

void shared_mutex::consistent() noexcept { lock_->writer().consistent(); }
std::optional<lock_holder> shared_mutex::holder() const { return lock_->writer().holder(); }
std::string shared_mutex::label() const { return lock_->writer().label(); }
slot_location shared_mutex::native_handle() noexcept { return lock_->writer().location(); }

}  // namespace shoal
