#pragma once

#include <concepts>
#include <cstddef>
#include <string_view>
#include <tuple>
#include <type_traits>

#include "shoal/decoder.hpp"
#include "shoal/detail/aggregate.hpp"
#include "shoal/encoder.hpp"
#include "shoal/record.hpp"

namespace shoal {

/// How a T is written as MessagePack, and read back. Specialise it for a type of your own that is no aggregate, or that
/// should travel in another form:
///
///     template <>
///     struct shoal::codec<money> {
///       static void encode(encoder& out, const money& value) { out.integer(value.cents()); }
///       static money decode(decoder& in) { return money::from_cents(in.integer()); }
///     };
///
/// `encode` appends exactly one value and `decode` reads exactly one. A template that holds other encodable types
/// should also have a member `using parts = std::tuple<...>` naming them, so that `encodable` can ask them too.
///
/// There already are, with what Python reads them as:
///
///     bool                                      bool
///     integers, enumerations, char              int
///     float, double                             float
///     std::string                               str
///     std::vector/array of std::byte            bytes
///     std::vector, deque, list, set, array      list (std::array must come back with as many items)
///     std::map, unordered_map                   dict
///     std::pair, tuple, aggregates              tuple, or a dict where `field_names` says so
///     std::variant                              tuple (index, value)
///     std::optional                             None, or the value
///     std::monostate, std::nullptr_t            None
///
/// Only to be written: std::string_view, const char*, string literals.
template <class T>
struct codec;

/// The names under which an aggregate's members travel, in their order. Given them it is a map (in Python a dict)
/// instead of a tuple:
///
///     struct point { double x, y; };
///     template <> inline constexpr auto shoal::field_names<point> = std::array{"x", "y"};
///
/// Specialise it beside the type, before its first use. Reading accepts the names in any order, and the bare tuple as
/// well; a name that is missing, unknown or given twice is an error.
template <class T>
inline constexpr auto field_names = nullptr;

namespace detail {

template <class T>
concept has_encode = requires(encoder& out, const T& value) {
  codec<T>::encode(out, value);
};
template <class T>
concept has_decode = requires(decoder& in) {
  { codec<T>::decode(in) } -> std::same_as<T>;
};

struct codec_of_aggregate {};  // base of the codec that aggregates get of themselves

template <class T>
consteval auto parts_of() {
  if constexpr (std::is_base_of_v<codec_of_aggregate, codec<T>>) {
    return std::type_identity<field_types<T>>{};
  } else if constexpr (requires { typename codec<T>::parts; }) {
    return std::type_identity<typename codec<T>::parts>{};
  } else {
    return std::type_identity<std::tuple<>>{};
  }
}

template <class... T>
struct seen {};

template <class T, bool BothWays, class... Seen>
consteval bool has_codec(seen<Seen...>);

template <bool BothWays, class... Part, class Seen>
consteval bool all_have_codec(std::type_identity<std::tuple<Part...>>, [[maybe_unused]] Seen seen_before) {
  return (has_codec<Part, BothWays>(seen_before) && ...);
}

// Asks the parts too, except those asked already: a type may hold itself, as a tree's node holds a vector of nodes.
template <class T, bool BothWays, class... Seen>
consteval bool has_codec(seen<Seen...>) {
  if constexpr ((std::is_same_v<T, Seen> || ...)) {
    return true;
  } else if constexpr (!has_encode<T> || (BothWays && !has_decode<T>)) {
    return false;
  } else {
    return all_have_codec<BothWays>(parts_of<T>(), seen<T, Seen...>{});
  }
}

[[noreturn]] void throw_no_message_pack(encoding tag, std::size_t size, std::string_view wanted_type);

// The compiler's own spelling of T, cut out of the signature of this function.
template <class T>
constexpr std::string_view type_name() {
  constexpr std::string_view signature = __PRETTY_FUNCTION__;
  constexpr std::size_t first = signature.find("T = ") + 4;
  constexpr std::size_t last = signature.find_first_of(";]", first);
  return signature.substr(first, last - first);
}

}  // namespace detail

/// T, and whatever it holds, can be encoded and decoded.
template <class T>
concept encodable = detail::has_codec<T, true>(detail::seen<>{});

/// Appends `value` to `out` as one MessagePack value.
/// @throws std::length_error  a string or container of 4 GiB or 2^32 items, or nested deeper than `max_nesting`.
template <class T>
void encode(encoder& out, const T& value) {
  constexpr bool can_encode = detail::has_codec<T, false>(detail::seen<>{});
  static_assert(can_encode,
                "shoal: this type, or something it holds, cannot be encoded. See shoal::codec for the types that can; "
                "an aggregate may have "
                "up to 16 members, no base class, and std::array instead of C arrays. For any other type specialise "
                "shoal::codec.");
  if constexpr (can_encode) {  // no second error behind the first
    codec<T>::encode(out, value);
  }
}

/// Reads the next value of `in`, which must be a T.
/// @throws shoal::error  see `decoder`.
template <class T>
[[nodiscard]] T decode(decoder& in) {
  static_assert(encodable<T>,
                "shoal: this type, or something it holds, cannot be decoded. See shoal::codec for the types that can; "
                "an aggregate may have "
                "up to 16 members, no base class, and std::array instead of C arrays, and views (std::string_view, "
                "const char*) can only "
                "be encoded. For any other type specialise shoal::codec.");
  if constexpr (encodable<T>) {
    return codec<T>::decode(in);
  }
}

/// Reads bytes that hold one T and nothing else.
/// @throws shoal::error  see `decoder`.
template <class T>
[[nodiscard]] T decode(const_bytes bytes) {
  decoder in(bytes);
  T value = decode<T>(in);
  in.finish();
  return value;
}

/// Reads the bytes of a record that holds one T.
/// @throws shoal::error  errc::wrong_type also if the record is not MessagePack at all, such as a Python pickle.
template <class T>
[[nodiscard]] T decode(encoding tag, const_bytes bytes) {
  if (tag != encoding::msgpack) {
    detail::throw_no_message_pack(tag, bytes.size(), detail::type_name<T>());
  }
  return decode<T>(bytes);
}

/// The same of a whole record.
template <class T>
[[nodiscard]] T decode(const record& from) {
  return decode<T>(from.tag(), from.bytes());
}

}  // namespace shoal

#include "shoal/detail/standard_codecs.hpp"  // IWYU pragma: export

#include "shoal/detail/aggregate_codec.hpp"  // IWYU pragma: export
