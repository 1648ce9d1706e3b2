#include "shoal/detail/result_memory.hpp"

#include <unistd.h>

#include <cerrno>
#include <utility>

#include "os/file_descriptor.hpp"
#include "os/memfd.hpp"

namespace shoal::detail {

result_memory::result_memory() : fd_(os::make_memfd("shoal:result").release()) {}

result_memory result_memory::attach_descriptor(int fd) {
  return result_memory(os::file_descriptor::duplicate(fd).release());
}

result_memory::result_memory(result_memory&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

result_memory& result_memory::operator=(result_memory&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

result_memory::~result_memory() { os::file_descriptor(fd_).reset(); }

void result_memory::store(const encoder& result) {
  std::vector<const_bytes> pieces;
  result.pieces(pieces);
  off_t at = 0;
  for (const_bytes piece : pieces) {
    while (!piece.empty()) {
      const ssize_t count = ::pwrite(fd_, piece.data(), piece.size(), at);
      if (count < 0 && errno == EINTR) {
        continue;
      }
      os::check(count, "storing the result of a process's function");
      at += count;
      piece = piece.subspan(static_cast<std::size_t>(count));
    }
  }
}

std::vector<std::byte> result_memory::load() const {
  std::vector<std::byte> bytes(os::file_size(fd_));
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t count = ::pread(fd_, bytes.data() + done, bytes.size() - done, static_cast<off_t>(done));
    if (count < 0 && errno == EINTR) {
      continue;
    }
    os::check(count, "reading the result of a process's function");
    if (count == 0) {
      break;
    }
    done += static_cast<std::size_t>(count);
  }
  bytes.resize(done);
  return bytes;
}

}  // namespace shoal::detail
