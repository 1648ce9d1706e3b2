#pragma once

#include <cstddef>
#include <utility>

namespace shoal::os {

/// A shared mapping of a file; unmapped at the end. It may be longer than the file: only touching what lies past the
/// end of the file is an error, so a file can grow under a mapping that was made once.
///
/// Not to be destroyed while any thread of the process may still be inside a lock that lies in it.
class mapping {
 public:
  mapping() noexcept = default;

  /// @throws std::system_error  no address space left, or `fd` cannot be mapped for reading and writing.
  mapping(int fd, std::size_t size);

  mapping(mapping&& other) noexcept
      : address_(std::exchange(other.address_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  mapping& operator=(mapping&& other) noexcept {
    std::swap(address_, other.address_);
    std::swap(size_, other.size_);
    return *this;
  }
  mapping(const mapping&) = delete;
  mapping& operator=(const mapping&) = delete;
  ~mapping();

  [[nodiscard]] std::byte* data() const noexcept { return address_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

  /// Allocates the pages of [offset, offset + size) now, all at once, which is cheaper than a fault on each and fails
  /// here, with std::bad_alloc, instead of with SIGBUS at the first touch.
  void populate(std::size_t offset, std::size_t size) const;

  /// Gives the pages of [offset, offset + size) back to the system, in all processes; they read as zero from then on.
  /// @return false if the system cannot do that.
  bool punch(std::size_t offset, std::size_t size) const noexcept;

 private:
  std::byte* address_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace shoal::os
