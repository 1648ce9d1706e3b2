#pragma once

#include <string>

#include "os/file_descriptor.hpp"

namespace shoal::os {

/// An anonymous file in memory, shown as /memfd:NAME in /proc/PID/fd; closed on exec.
///
/// It is sealed against shrinking, so that nobody who holds it can make another's access to a mapped page fault
/// (SIGBUS).
/// @throws std::system_error  no descriptor left, even with the soft limit raised to the hard one.
[[nodiscard]] file_descriptor make_memfd(const std::string& name);

/// The file's size in bytes. @throws std::system_error  not open.
[[nodiscard]] std::size_t file_size(int fd);

/// Makes the file at least `size` bytes long; never shorter.
/// @throws std::bad_alloc     the system has no room for it (also: RLIMIT_FSIZE).
/// @throws std::system_error  any other failure.
void grow_file(int fd, std::size_t size);

}  // namespace shoal::os
