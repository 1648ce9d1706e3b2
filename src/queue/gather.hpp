#pragma once

#include <cstddef>
#include <cstring>
#include <span>

#include "shoal/record.hpp"

// A record that is made of parts, one behind the other.
namespace shoal::queue {

[[nodiscard]] inline std::size_t gathered_size(std::span<const const_bytes> parts) {
  std::size_t size = 0;
  for (const const_bytes part : parts) {
    size += part.size();
  }
  return size;
}

inline void gather(std::byte* to, std::span<const const_bytes> parts) {
  for (const const_bytes part : parts) {
    if (!part.empty()) {
      std::memcpy(to, part.data(), part.size());
      to += part.size();
    }
  }
}

}  // namespace shoal::queue
