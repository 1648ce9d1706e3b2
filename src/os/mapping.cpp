#include "os/mapping.hpp"

#include <sys/mman.h>

#include <new>

#include "os/error.hpp"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23  // Linux 5.14; absent from older headers
#endif

namespace shoal::os {

mapping::mapping(int fd, std::size_t size) : size_(size) {
  void* const address = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
  if (address == MAP_FAILED) {
    throw_errno("mapping " + std::to_string(size) + " bytes of shared memory");
  }
  address_ = static_cast<std::byte*>(address);
}

mapping::~mapping() {
  if (address_ != nullptr) {
    ::munmap(address_, size_);
  }
}

void mapping::populate(std::size_t offset, std::size_t size) const {
  while (::madvise(address_ + offset, size, MADV_POPULATE_WRITE) != 0) {
    if (errno == EINVAL) {
      return;  // a kernel before 5.14: pages come one by one, at first touch
    }
    if (errno != EINTR && errno != EAGAIN) {
      throw std::bad_alloc();
    }
  }
}

bool mapping::punch(std::size_t offset, std::size_t size) const noexcept {
  return ::madvise(address_ + offset, size, MADV_REMOVE) == 0;
}

}  // namespace shoal::os
