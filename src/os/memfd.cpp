#include "os/memfd.hpp"

#include <sys/mman.h>
#include <sys/stat.h>

#include <new>

#include "os/descriptor_limit.hpp"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U  // Linux 6.3; absent from older headers
#endif

namespace shoal::os {

file_descriptor make_memfd(const std::string& name) {
  file_descriptor fd(new_descriptor("creating a memfd", [&name] {
    // A system may allow only memfds that cannot be executed (sysctl vm.memfd_noexec); a kernel before 6.3 knows no
    // such flag.
    const int made = ::memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    return made < 0 && errno == EINVAL ? ::memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING) : made;
  }));
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
    if (errno == EPERM && file_size(fd) >= size) {
      return;  // another process has made it longer meanwhile, and the seal refused to shorten it
    }
    if (errno == ENOMEM || errno == ENOSPC || errno == EFBIG) {
      throw std::bad_alloc();
    }
    throw_errno("growing a memfd");
  }
}

}  // namespace shoal::os
