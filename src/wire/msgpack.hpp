#pragma once

#include <cstddef>

// The only place that includes the library, so that every file sees it configured alike.
#ifndef MSGPACK_NO_BOOST
#define MSGPACK_NO_BOOST
#endif
#include <msgpack.hpp>

namespace shoal::wire {

// First bytes of those values that are written by hand.
inline constexpr std::byte float32{0xca};
inline constexpr std::byte float64{0xcb};
inline constexpr std::byte ext8{0xc7};

}  // namespace shoal::wire
