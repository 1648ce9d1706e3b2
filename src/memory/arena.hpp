#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "memory/segment.hpp"
#include "shoal/detail/arena_slot.hpp"

namespace shoal::memory {

/// What makes a file the same as another: device and number on it.
using file_identity = std::pair<dev_t, ino_t>;

/// @throws std::system_error  not open.
[[nodiscard]] file_identity identity_of(int fd);

/// A segment that is divided into slots of one size. Where they have the smallest size, and so may be locks, an area
/// follows in which src/sync keeps what it has to know of the threads that use them.
///
///     header | kinds of the slots | slots ...                     | area of the threads
///     one page                    | slot_size() * slots()         | threads_bytes, only behind slots of 64 bytes
///
/// Lives as long as anything in this process refers to it: slots, the allocator, and threads that are registered in it.
/// Threads: all public members may be called concurrently. fork: the child shares it.
class arena {
 public:
  static constexpr std::uint32_t most_slots = 960;
  static constexpr std::size_t threads_bytes = std::size_t{40} << 20;

  /// A new arena. @throws std::system_error  no descriptor or address space left. @throws std::bad_alloc  no memory.
  static std::shared_ptr<arena> create(std::size_t slot_size, std::uint32_t slots);

  /// The arena behind a descriptor, which is duplicated.
  /// @throws shoal::error  it is none, or damaged. @throws std::system_error  as segment::attach.
  static std::shared_ptr<arena> attach(int descriptor);

  /// Not to be used: `memory` must be an arena whose header was checked.
  explicit arena(segment memory);

  [[nodiscard]] int descriptor() const noexcept { return memory_.descriptor(); }
  [[nodiscard]] const file_identity& identity() const noexcept { return identity_; }

  /// How many slots there can be, each of slot_size() bytes.
  [[nodiscard]] std::uint32_t slots() const noexcept { return slots_; }
  [[nodiscard]] std::size_t slot_size() const noexcept { return slot_size_; }

  [[nodiscard]] std::byte* slot(std::uint32_t index) const noexcept {
    return memory_.data() + page_size + index * slot_size_;
  }

  /// What lies in a slot; `none` if nobody has it, or is just about to. Acquires what was written before it was
  /// allocated.
  [[nodiscard]] slot_kind kind(std::uint32_t index) const noexcept {
    return kinds()[index].load(std::memory_order_acquire);
  }

  /// The area of the threads: `threads_bytes` zeroed bytes at first, of which only pages that were touched cost memory.
  /// Null in arenas of larger slots.
  [[nodiscard]] std::byte* threads() const noexcept { return threads_; }

  /// Allocates the pages of [offset, offset + size) of that area now. @throws std::bad_alloc  no memory left.
  void populate_threads(std::size_t offset, std::size_t size) const;

  /// Whether this process has neither a slot of it nor will allocate one: a thread that is registered here may drop its
  /// reference. May be outdated at once, by an attach.
  [[nodiscard]] bool idle() const noexcept {
    return references.load(std::memory_order_acquire) == 0 && !listed.load(std::memory_order_acquire);
  }

 private:
  friend class allocator;
  friend class arena_slot;

  // Behind the segment's own header.
  struct header {
    std::uint64_t slot_size;
    std::uint32_t slots;
    std::uint32_t reserved;
    std::atomic<slot_kind> kinds[most_slots];  // COMMIT: `none` until the slot is all zero
  };
  static constexpr std::size_t header_offset = 64;
  static_assert(sizeof(segment_header) <= header_offset && header_offset + sizeof(header) <= page_size);

  /// How much the segment of such an arena must have.
  static std::size_t size_of(std::size_t slot_size, std::uint32_t slots) noexcept;
  [[nodiscard]] std::atomic<slot_kind>* kinds() const noexcept { return memory_.at<header>(header_offset)->kinds; }

  segment memory_;
  file_identity identity_;
  std::size_t slot_size_;
  std::uint32_t slots_;
  std::byte* threads_ = nullptr;

  std::atomic<std::uint32_t> references{0};  // slots of this process that lie here
  std::atomic<bool> listed{false};           // among those that the allocator looks for room in

  // Bookkeeping of the process that allocates here; guarded by the allocator's mutex.
  std::uint32_t unused = 0;              // index of the first slot never allocated
  std::size_t populated = page_size;     // up to here the pages were allocated
  std::vector<std::uint32_t> free_list;  // slots given back
  [[nodiscard]] bool has_room() const noexcept { return unused < slots_ || !free_list.empty(); }
  [[nodiscard]] bool is_empty() const noexcept { return unused == free_list.size(); }
};

/// The arenas of this process that have room for locks and the like, allocated here or attached.
/// Not to be called by a handler of pthread_atfork.
[[nodiscard]] std::vector<std::shared_ptr<arena>> all_arenas();

}  // namespace shoal::memory
