#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <utility>
#include <vector>

namespace shoal::python {

/// Addresses, each once. Meant to be reused: `clear()` keeps a small table.
class identity_set {
 public:
  /// @return false if it was there already.
  bool insert(const void* address) {
    if (2 * (size_ + 1) > slots_.size()) {
      grow();
    }
    const void*& slot = slot_of(address);
    if (slot == address) {
      return false;
    }
    slot = address;
    ++size_;
    return true;
  }

  void clear() {
    if (size_ != 0) {
      slots_.assign(smallest, nullptr);
      if (slots_.capacity() > largest_kept) {
        slots_.shrink_to_fit();
      }
      size_ = 0;
    }
  }

 private:
  static constexpr std::size_t smallest = 32;
  static constexpr std::size_t largest_kept = 4096;

  // Where the address is, or would go: the table has free slots, and its size is a power of two.
  const void*& slot_of(const void* address) {
    std::size_t at = std::hash<const void*>()(address) / alignof(std::max_align_t) % slots_.size();
    while (slots_[at] != nullptr && slots_[at] != address) {
      at = (at + 1) % slots_.size();
    }
    return slots_[at];
  }

  void grow() {
    const std::vector<const void*> old =
        std::exchange(slots_, std::vector<const void*>(std::max(smallest, 2 * slots_.size())));
    for (const void* const address : old) {
      if (address != nullptr) {
        slot_of(address) = address;
      }
    }
  }

  std::vector<const void*> slots_ = std::vector<const void*>(smallest);
  std::size_t size_ = 0;
};

}  // namespace shoal::python
