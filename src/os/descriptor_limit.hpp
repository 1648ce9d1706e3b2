#pragma once

#include <cerrno>

namespace shoal::os {

/// Raises this process's soft limit of open descriptors (RLIMIT_NOFILE) to its hard one, which needs no privilege.
///
/// The soft limit is low for the sake of programs that use select(2), which knows no descriptor above 1023. A process
/// that wants more of them is no such program; the Go runtime and the JVM raise it as well. Children started from then
/// on inherit it. Does nothing if they are the same. Threads: may be called concurrently.
void raise_descriptor_limit() noexcept;

/// Throws the std::system_error of `errno`; if that is EMFILE, its text says what the limit is and what to do.
[[noreturn]] void throw_no_descriptor(const char* attempt);

/// Passes on a new descriptor; one that has the number of a standard stream, because the program has closed that, gets
/// another number: what is printed must not get into it.
/// @throws std::system_error  no other is left; it is closed.
[[nodiscard]] int above_standard_streams(int fd, const char* attempt);

/// A new descriptor above those of the standard streams, from `create`, which returns -1 and sets errno if there is
/// none. If the process may have no more, its soft limit is raised to the hard one, and `create` is called once more.
/// @throws std::system_error  it failed; the text begins with what was attempted.
template <class Create>
[[nodiscard]] int new_descriptor(const char* attempt, Create create) {
  int fd = create();
  if (fd < 0 && errno == EMFILE) {
    raise_descriptor_limit();
    fd = create();  // even if it was at its highest: another thread may just have raised it
  }
  if (fd < 0) {
    throw_no_descriptor(attempt);
  }
  return above_standard_streams(fd, attempt);
}

}  // namespace shoal::os
