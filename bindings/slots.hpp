#pragma once

#include <cstdint>
#include <utility>

#include "shoal/detail/arena_slot.hpp"

namespace shoal::python {

/// Where another process finds an object in shared memory, as Python has it: a descriptor of the memory, and the place.
using location = std::pair<int, std::uint32_t>;

inline slot_location slot_at(const location& place) { return {place.first, place.second}; }

/// The location of a primitive, whose memory is from now on not used for another one.
template <class Primitive>
location location_of(Primitive& primitive) {
  const slot_location place = primitive.location();
  return {place.arena, place.index};
}

}  // namespace shoal::python
