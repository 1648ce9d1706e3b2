#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>

namespace shoal {

/// Where another process finds an object that lies in shared memory: a descriptor of the memory, which stays the
/// object's, and the place there. This is what native_handle() of such an object returns.
struct slot_location {
  int arena = -1;
  std::uint32_t index = 0;
  int readiness = -1;  ///< only of an event: its readiness_handle(), for the other process to keep; -1: there is none
};

namespace memory {

class arena;

/// What a slot holds. The numbers are part of the layout: never reuse one. 1 was a binary semaphore.
enum class slot_kind : std::uint32_t {
  none = 0,
  event = 2,
  mutex = 3,
  recursive_mutex = 4,
  shared_mutex = 5,
  semaphore = 6,
  condition_variable = 7,
  barrier = 8,
  latch = 9,
  block = 10,
};

/// A reference on one slot of an arena: shared memory for a small object such as a lock, or for an array. Hundreds of
/// slots share a segment and so a descriptor; what is larger than a megabyte has a segment of its own.
///
/// Nothing in shared memory counts the references on a slot, because a fork makes new ones unseen and a kill drops them
/// unseen. So a slot is used again only where this process can have been the only one to know it: it allocated it, has
/// not forked since, and has not asked for its location. Every other slot ends with its arena, which the kernel frees
/// with the last process.
///
/// Threads: allocation and destruction may be concurrent. fork: the child's copy refers to the same slot.
class arena_slot {
 public:
  /// Of a slot that nothing larger was asked for: a cache line, so that two locks do not fight over one.
  static constexpr std::size_t size = 64;

  /// Allocates a slot of at least `bytes` bytes, which are zero. Pages of what is larger than 32 KiB are not allocated
  /// before they are touched.
  /// @throws std::system_error  no descriptor or address space left.
  /// @throws std::bad_alloc     no memory left.
  static arena_slot allocate(slot_kind kind, std::size_t bytes = size);

  /// @throws shoal::error       there is no slot of that kind at that place.
  /// @throws std::system_error  the descriptor is not open; no descriptor or address space left.
  static arena_slot attach(slot_location location, slot_kind kind);

  arena_slot(arena_slot&&) noexcept = default;
  arena_slot& operator=(arena_slot&& other) noexcept {
    arena_slot taken(std::move(other));
    arena_.swap(taken.arena_);
    std::swap(data_, taken.data_);
    std::swap(private_since_, taken.private_since_);
    std::swap(index_, taken.index_);
    return *this;
  }
  arena_slot(const arena_slot&) = delete;
  arena_slot& operator=(const arena_slot&) = delete;
  ~arena_slot();

  /// The object in the slot. T must be fit for zeroed memory and have no destructor.
  template <class T>
  [[nodiscard]] T& as() const noexcept {
    static_assert(sizeof(T) <= size);  // and so is its alignment
    static_assert(std::is_trivially_destructible_v<T>);
    return *reinterpret_cast<T*>(data_);
  }

  /// The slot's memory, aligned to 64 bytes.
  [[nodiscard]] std::byte* data() const noexcept { return data_; }

  /// How much of it there is: what was asked for, rounded up.
  [[nodiscard]] std::size_t bytes() const noexcept;

  /// For another process to attach; from now on the slot is never used again.
  [[nodiscard]] slot_location location() noexcept;

  [[nodiscard]] std::uint32_t index() const noexcept { return index_; }
  [[nodiscard]] arena& home() const noexcept { return *arena_; }
  [[nodiscard]] const std::shared_ptr<arena>& shared_home() const noexcept { return arena_; }

 private:
  arena_slot(std::shared_ptr<arena> owner, std::uint32_t index, std::uint64_t forks) noexcept;

  std::shared_ptr<arena> arena_;
  std::byte* data_ = nullptr;
  std::uint64_t private_since_ = 0;  // the process's count of forks when only it knew the slot; 0: it never did
  std::uint32_t index_ = 0;
};

}  // namespace memory
}  // namespace shoal
