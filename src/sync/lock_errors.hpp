#pragma once

#include <string>

#include "sync/owner_lock.hpp"

namespace shoal::sync {

/// "the mutex 'log'", or without its label if it has none.
[[nodiscard]] std::string name_of(const char* kind, const owner_lock& lock);

/// What a lock() of C++ makes of an attempt. @return whether it is held now; false after `timed_out`.
/// @throws owner_died, std::system_error  as the attempt says.
bool held_after(const lock_attempt& attempt, const char* kind, const owner_lock& lock);

/// @throws std::system_error  resource_deadlock_would_occur, saying who holds it since when.
[[noreturn]] void throw_would_deadlock(const char* kind, const owner_lock& lock);

/// @throws std::system_error  operation_not_permitted, saying who holds it.
[[noreturn]] void throw_not_held(const char* kind, const owner_lock& lock);

}  // namespace shoal::sync
