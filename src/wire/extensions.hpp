#pragma once

#include <cstdint>

// MessagePack extension types that are part of the wire format; see docs/design/wire.md.
namespace shoal::wire {

/// A tuple: its payload is one array.
inline constexpr std::int8_t tuple_extension = 1;

/// An instance of a Python class: its payload is an array of the class's module, its qualified name, and the instance's
/// attributes as a map, or nil if it has none.
inline constexpr std::int8_t instance_extension = 2;

}  // namespace shoal::wire
