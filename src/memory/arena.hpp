#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace shoal::memory {

class arena;

/// What a slot holds. The numbers are part of the layout: never reuse one.
enum class slot_kind : std::uint32_t { binary_semaphore = 1, event = 2 };

/// Where another process finds a slot: the descriptor of its arena and its index there.
struct slot_location {
  int arena = -1;
  std::uint32_t index = 0;
};

/// A reference on one slot of an arena: a line of shared memory for a small object such as a lock. Thousands of slots
/// share a segment and so a descriptor.
///
/// Nothing in shared memory counts the references on a slot, because a fork makes new ones unseen and a kill drops them
/// unseen. So a slot is used again only where this process can have been the only one to know it: it allocated it, has
/// not forked since, and has not asked for its location. Every other slot ends with its arena, which the kernel frees
/// with the last process.
///
/// Threads: allocation and destruction may be concurrent. fork: the child's copy refers to the same slot.
class arena_slot {
 public:
  static constexpr std::size_t size = 64;

  /// Allocates a slot whose payload is zero. @throws std::system_error  no descriptor or memory left.
  static arena_slot allocate(slot_kind kind);

  /// @throws shoal::error  there is no slot of that kind at that place.
  static arena_slot attach(slot_location location, slot_kind kind);

  arena_slot(arena_slot&&) noexcept = default;
  arena_slot& operator=(arena_slot&&) = delete;
  arena_slot(const arena_slot&) = delete;
  arena_slot& operator=(const arena_slot&) = delete;
  ~arena_slot();

  /// The object in the slot. T must be fit for zeroed memory and have no destructor.
  template <class T>
  [[nodiscard]] T& as() const noexcept {
    static_assert(sizeof(T) <= size - sizeof(std::uint64_t) && std::is_trivially_destructible_v<T>);
    return *reinterpret_cast<T*>(payload());
  }

  /// For another process to attach; from now on the slot is never used again.
  [[nodiscard]] slot_location location() noexcept;

 private:
  arena_slot(std::shared_ptr<arena> owner, std::uint32_t index, std::uint64_t forks) noexcept;
  [[nodiscard]] std::byte* payload() const noexcept;

  std::shared_ptr<arena> arena_;
  std::uint32_t index_ = 0;
  std::uint64_t private_since_ = 0;  // the process's count of forks when only it knew the slot; 0: it never did
};

}  // namespace shoal::memory
