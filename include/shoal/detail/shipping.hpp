#pragma once

// How functions, arguments and results cross between a pool and its workers.

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <ranges>
#include <string>
#include <string_view>
#include <type_traits>

#include "shoal/codec.hpp"
#include "shoal/detail/code_location.hpp"
#include "shoal/error.hpp"

namespace shoal::detail {

template <class T>
concept function_pointer = std::is_pointer_v<T> && std::is_function_v<std::remove_pointer_t<T>>;

// Trivially copyable, but their bytes are an address.
template <class T>
inline constexpr bool refers_elsewhere = std::ranges::enable_view<T> || std::ranges::enable_borrowed_range<T>;
template <class T>
inline constexpr bool refers_elsewhere<std::reference_wrapper<T>> = true;

template <class T>
concept travels_as_bytes = std::is_trivially_copyable_v<T> &&
    (std::is_class_v<T> || std::is_union_v<T>)&&!refers_elsewhere<T>;

/// Arguments and results.
template <class T>
concept shippable = encodable<T> || function_pointer<T> || travels_as_bytes<T>;

/// Functions. A lambda's captures travel as bytes; the compiler does not say whether one of them is a reference.
template <class T>
concept shippable_function = function_pointer<T> || std::is_member_pointer_v<T> || travels_as_bytes<T> ||
    (std::is_class_v<T>&& encodable<T>);

/// What a T is stored as on its way: views of text own a copy there.
template <class T>
struct stored {
  using type = T;
};
template <>
struct stored<const char*> {
  using type = std::string;
};
template <>
struct stored<char*> {
  using type = std::string;
};
template <>
struct stored<std::string_view> {
  using type = std::string;
};
template <class T>
using stored_t = typename stored<std::decay_t<T>>::type;

template <class T>
void ship_bytes(encoder& out, const T& value) {
  out.binary({reinterpret_cast<const std::byte*>(&value), sizeof value});
}

template <class T>
T receive_bytes(decoder& in) {
  const const_bytes bytes = in.binary();
  if (bytes.size() != sizeof(T)) {
    throw error(errc::corrupt_record, "an object of " + std::to_string(sizeof(T)) + " bytes was expected, " +
                                          std::to_string(bytes.size()) + " bytes were found");
  }
  std::array<std::byte, sizeof(T)> copy;
  std::memcpy(copy.data(), bytes.data(), sizeof(T));
  return std::bit_cast<T>(copy);
}

inline void ship_code(encoder& out, const void* code) {
  const code_location location = locate_code(code);
  out.unsigned_integer(reinterpret_cast<std::uintptr_t>(location.address));
  out.binary(location.name);
}

inline const void* receive_code(decoder& in) {
  const auto address = static_cast<std::uintptr_t>(in.unsigned_integer());
  return find_code({reinterpret_cast<const void*>(address), in.binary()});  // NOLINT(performance-no-int-to-ptr)
}

void send_member_function(encoder& out, const void* bytes, std::size_t size);
void receive_member_function(decoder& in, void* bytes, std::size_t size);

template <class T>
void ship(encoder& out, const T& value) {
  if constexpr (function_pointer<T>) {
    ship_code(out, reinterpret_cast<const void*>(value));
  } else if constexpr (encodable<T>) {
    encode(out, value);
  } else {
    ship_bytes(out, value);
  }
}

/// Ships what is to be received as a stored_t of it.
template <class T>
void ship_stored(encoder& out, const T& value) {
  using stored_type = stored_t<T>;
  if constexpr (std::is_same_v<stored_type, T>) {
    ship(out, value);
  } else if constexpr (std::is_same_v<stored_type, std::string>) {
    out.string(value);
  } else {
    ship<stored_type>(out, value);  // a function or an array, which decays
  }
}

template <class T>
T receive(decoder& in) {
  if constexpr (function_pointer<T>) {
    return reinterpret_cast<T>(const_cast<void*>(receive_code(in)));
  } else if constexpr (encodable<T>) {
    return decode<T>(in);
  } else {
    return receive_bytes<T>(in);
  }
}

// A function's state is copied as it is where that is possible, and never looked into.
template <class F>
void ship_function(encoder& out, const F& function) {
  if constexpr (function_pointer<F>) {
    ship(out, function);
  } else if constexpr (std::is_member_function_pointer_v<F>) {
    send_member_function(out, &function, sizeof function);
  } else if constexpr (std::is_member_pointer_v<F> || (travels_as_bytes<F> && !std::is_empty_v<F>)) {
    ship_bytes(out, function);
  } else if constexpr (!travels_as_bytes<F>) {
    encode(out, function);
  }
}

template <class F>
F receive_function(decoder& in) {
  if constexpr (function_pointer<F>) {
    return receive<F>(in);
  } else if constexpr (std::is_member_function_pointer_v<F>) {
    std::array<std::byte, sizeof(F)> bytes;
    receive_member_function(in, bytes.data(), bytes.size());
    return std::bit_cast<F>(bytes);
  } else if constexpr (std::is_member_pointer_v<F> || (travels_as_bytes<F> && !std::is_empty_v<F>)) {
    return receive_bytes<F>(in);
  } else if constexpr (!travels_as_bytes<F>) {
    return decode<F>(in);
  } else {
    return std::bit_cast<F>(std::array<std::byte, sizeof(F)>{});
  }
}

}  // namespace shoal::detail
