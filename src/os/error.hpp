#pragma once

#include <cerrno>
#include <string>
#include <system_error>

namespace shoal::os {

/// Throws the std::system_error of `errno`, whose text begins with what was attempted.
[[noreturn]] inline void throw_errno(const std::string& attempt, int code = errno) {
  throw std::system_error(code, std::generic_category(), attempt);
}

/// Passes on the result of a system call; -1 becomes the std::system_error of `errno`.
template <class Result>
Result check(Result result, const char* attempt) {
  if (result == static_cast<Result>(-1)) {
    throw_errno(attempt);
  }
  return result;
}

}  // namespace shoal::os
