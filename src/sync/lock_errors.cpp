#include "sync/lock_errors.hpp"

#include <chrono>
#include <optional>
#include <sstream>
#include <system_error>

#include "shoal/error.hpp"
#include "shoal/owner_died.hpp"

namespace shoal {
namespace {

std::string name_of(const lock_holder& somebody) {
  if (somebody.process == 0) {
    return "a thread that is not known any more";
  }
  std::string text = "process " + std::to_string(somebody.process);
  if (somebody.thread != somebody.process) {
    text = "thread " + std::to_string(somebody.thread) + " of " + text;
  }
  return text;
}

}  // namespace

owner_died::owner_died(const std::string& what_was_locked, const lock_holder& dead)
    : error(std::make_error_code(std::errc::owner_dead),
            name_of(dead) + " has ended while it held " + what_was_locked +
                ", and what that guards may be half changed. It is locked now: put that right, call consistent() and "
                "unlock it."),
      dead_(dead) {}

namespace sync {

std::string name_of(const char* kind, const owner_lock& lock) {
  const std::string label = lock.label();
  return std::string("the ") + kind + (label.empty() ? "" : " '" + label + "'");
}

bool held_after(const lock_attempt& attempt, const char* kind, const owner_lock& lock) {
  switch (attempt.status) {
    case lock_status::acquired:
      return true;
    case lock_status::owner_died:
      throw owner_died(name_of(kind, lock), attempt.dead);
    case lock_status::unrecoverable:
      throw error(
          std::make_error_code(std::errc::state_not_recoverable),
          name_of(kind, lock) +
              " cannot be locked any more: its holder has died, and whoever was told so has unlocked it without "
              "calling consistent(). Replace it and what it guards.");
    case lock_status::timed_out:
    case lock_status::interrupted:
      return false;
  }
  return false;
}

void throw_would_deadlock(const char* kind, const owner_lock& lock) {
  throw error(
      std::make_error_code(std::errc::resource_deadlock_would_occur),
      name_of(kind, lock) +
          " was locked by this thread before, and to lock it again would be to wait for itself. Unlock it first, "
          "or use a recursive_mutex.");
}

void throw_not_held(const char* kind, const owner_lock& lock) {
  const std::optional<lock_holder> holder = lock.holder();
  throw error(std::make_error_code(std::errc::operation_not_permitted),
              name_of(kind, lock) + " was to be unlocked by a thread that does not hold it: " +
                  (holder ? shoal::name_of(*holder) + " does." : std::string("nobody does.")));
}

}  // namespace sync
}  // namespace shoal
