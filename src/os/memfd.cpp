#include "os/memfd.hpp"

#include <sys/mman.h>
#include <sys/stat.h>

#include <new>

namespace shoal::os {

file_descriptor make_memfd(const std::string& name) {
  file_descriptor fd(check(::memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING), "creating a memfd"));
  check(::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK), "sealing a memfd against shrinking");
  return fd;
}

std::size_t file_size(int fd) {
  struct stat status {};
  check(::fstat(fd, &status), "reading the size of a descriptor");
  return static_cast<std::size_t>(status.st_size);
}

void grow_file(int fd, std::size_t size) {
  // posix semantics: ftruncate would also shrink, which the seal refuses; callers hold the lock that orders growth.
  if (file_size(fd) >= size) {
    return;
  }
  if (::ftruncate(fd, static_cast<off_t>(size)) != 0) {
    if (errno == ENOMEM || errno == ENOSPC || errno == EFBIG) {
      throw std::bad_alloc();
    }
    throw_errno("growing a memfd");
  }
}

}  // namespace shoal::os
