#pragma once

#include <cstddef>
#include <string_view>
#include <type_traits>

#include "shoal/detail/arena_slot.hpp"
#include "shoal/recursive_mutex.hpp"

namespace shoal {

/// Where another process finds a shared_value or shared_array: its memory, and its mutex. The descriptors stay the
/// object's; both may be the same one.
struct shared_handle {
  slot_location memory;
  slot_location mutex;
};

namespace detail {

/// What may lie in memory that several processes have at different addresses and that ends without destructors.
template <class T>
inline constexpr bool may_be_shared = std::is_trivially_copyable_v<T>&& std::is_object_v<T> && alignof(T) <= 64;

/// Objects of one type in shared memory, and their mutex. The memory begins with what they are, so that whoever
/// attaches with another type is refused.
class guarded_memory {
 public:
  /// Zeroed. @throws std::bad_alloc, std::system_error  no descriptor or memory left.
  guarded_memory(std::size_t object_size, std::size_t count, std::string_view label);

  /// @throws shoal::error  objects of another size lie there, or another number of them than `expected` (0: any).
  guarded_memory(const shared_handle& handle, std::size_t object_size, std::size_t expected);

  [[nodiscard]] std::byte* data() const noexcept { return slot_.data() + header_size; }
  [[nodiscard]] std::size_t count() const noexcept { return count_; }
  [[nodiscard]] recursive_mutex& mutex() noexcept { return mutex_; }
  [[nodiscard]] shared_handle native_handle() noexcept { return {slot_.location(), mutex_.native_handle()}; }

 private:
  static constexpr std::size_t header_size = 64;

  memory::arena_slot slot_;
  recursive_mutex mutex_;
  std::size_t count_;
};

}  // namespace detail
}  // namespace shoal
