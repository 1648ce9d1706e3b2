#pragma once

#include <cstddef>
#include <optional>
#include <utility>

#include "shoal/detail/arena_slot.hpp"

namespace shoal::python {

/// shoal._core.SharedBlock: bytes in shared memory, zero at first; offers them as a buffer.
class shared_block {
 public:
  explicit shared_block(std::size_t size)
      : size_(size), slot_(memory::arena_slot::allocate(memory::slot_kind::block, size)) {}

  /// @throws shoal::error  there is no block at that place, or it is smaller.
  shared_block(std::size_t size, slot_location place);

  [[nodiscard]] std::byte* data() const noexcept { return slot_.data(); }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] slot_location location() noexcept { return slot_.location(); }

 private:
  std::size_t size_;
  memory::arena_slot slot_;
};

}  // namespace shoal::python
