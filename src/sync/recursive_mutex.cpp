#include "shoal/recursive_mutex.hpp"

#include "sync/lock_errors.hpp"
#include "sync/owner_lock.hpp"

namespace shoal {
namespace {

constexpr const char* kind = "recursive mutex";

}  // namespace

recursive_mutex::recursive_mutex(std::string_view label)
    : lock_(std::make_unique<sync::owner_lock>(memory::slot_kind::recursive_mutex, label)) {}
recursive_mutex::recursive_mutex(native_handle_type handle)
    : lock_(std::make_unique<sync::owner_lock>(memory::slot_kind::recursive_mutex, handle)) {}
recursive_mutex::recursive_mutex(recursive_mutex&&) noexcept = default;
recursive_mutex& recursive_mutex::operator=(recursive_mutex&&) noexcept = default;
recursive_mutex::~recursive_mutex() = default;

void recursive_mutex::lock() {
  while (!lock_until(forever)) {
  }
}

bool recursive_mutex::try_lock() { return lock_->lock_again() || sync::held_after(lock_->try_lock(), kind, *lock_); }

bool recursive_mutex::lock_until(deadline until) {
  return lock_->lock_again() || sync::held_after(lock_->lock_uninterrupted(until), kind, *lock_);
}

void recursive_mutex::unlock() {
  if (!lock_->unlock()) {
    sync::throw_not_held(kind, *lock_);
  }
}

void recursive_mutex::consistent() noexcept { lock_->consistent(); }
std::optional<lock_holder> recursive_mutex::holder() const { return lock_->holder(); }
std::string recursive_mutex::label() const { return lock_->label(); }
slot_location recursive_mutex::native_handle() noexcept { return lock_->location(); }

}  // namespace shoal
