#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "os/file_descriptor.hpp"
#include "os/mapping.hpp"

namespace shoal::memory {

inline constexpr std::size_t page_size = 4096;

/// What a segment holds. The numbers are part of the layout: never reuse one.
enum class segment_kind : std::uint32_t { queue = 1, arena = 2, claims = 3 };

/// The first bytes of every segment. Written once by the creator, before anybody else can see the segment.
struct segment_header {
  char magic[6];
  std::uint16_t layout_version;
  std::uint16_t word_bits;   // pointers and locks differ between 32- and 64-bit processes
  std::uint16_t mutex_size;  // of the C library's pthread_mutex_t, which lies in the segment
  segment_kind kind;
  std::uint64_t size;     // of the mapping; the file grows up to it
  std::uint32_t creator;  // process id, for people who look from outside
};

inline constexpr char segment_magic[6] = {'S', 'H', 'O', 'A', 'L', '\0'};

/// Changes with the meaning of any byte in any kind of segment; not the version of the library.
inline constexpr std::uint16_t layout_version = 5;

/// Shared memory that begins with a segment_header: a memfd, mapped once at its largest size. The header takes the
/// first page; what follows is zero until somebody writes to it.
class segment {
 public:
  /// Creates a segment of `size` bytes, shown as memfd:shoal:KIND:LABEL. Nothing but the header is allocated yet.
  /// @throws std::system_error  no descriptor, memory or address space left.
  static segment create(segment_kind kind, const std::string& label, std::size_t size);

  /// Maps the segment behind `descriptor`, which is duplicated.
  /// @throws shoal::error       not such a segment; says what was found and what was expected.
  /// @throws std::system_error  descriptor is not open; no descriptor or address space left.
  static segment attach(int descriptor, segment_kind kind);

  [[nodiscard]] std::byte* data() const noexcept { return mapping_.data(); }
  [[nodiscard]] std::size_t size() const noexcept { return mapping_.size(); }
  [[nodiscard]] int descriptor() const noexcept { return fd_.get(); }

  /// The object of type T that lies at `offset`.
  template <class T>
  [[nodiscard]] T* at(std::size_t offset) const noexcept {
    return reinterpret_cast<T*>(data() + offset);
  }

  /// Makes [0, end) usable. Idempotent; concurrent calls need a lock. @throws std::bad_alloc  no memory; nothing
  /// changed.
  void grow(std::size_t end) const;

  /// Allocates the pages of a range that was grown to. @throws std::bad_alloc  no memory.
  void populate(std::size_t offset, std::size_t size) const { mapping_.populate(offset, size); }

  /// Gives the pages of a range back to the system. @return false if it cannot do that.
  bool punch(std::size_t offset, std::size_t size) const noexcept { return mapping_.punch(offset, size); }

 private:
  segment(os::file_descriptor fd, os::mapping mapping) noexcept : fd_(std::move(fd)), mapping_(std::move(mapping)) {}

  os::file_descriptor fd_;
  os::mapping mapping_;
};

}  // namespace shoal::memory
