#pragma once

// The specialisations of shoal::codec that come with Shoal; their contract is in shoal/codec.hpp, which includes this.

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "shoal/codec.hpp"

namespace shoal {
namespace detail {

template <class T>
concept wire_integer = std::integral<T> && !std::same_as<T, bool> && sizeof(T) <= sizeof(std::int64_t);

// By shape instead of by name: <deque>, <list>, <map> and <set> need not be included, and a user's container of the
// same shape works as well.
template <class T>
concept container = std::default_initializable<T> && requires(const T& c) {
  typename T::value_type;
  { c.size() } -> std::convertible_to<std::size_t>;
  c.begin() != c.end();
};
template <class T>
concept map_container = container<T> && requires(T& c, typename T::key_type key, typename T::mapped_type value) {
  c.insert_or_assign(std::move(key), std::move(value));
};
template <class T>
concept set_container = container<T> && std::same_as<typename T::key_type, typename T::value_type> &&
    requires(T& c, typename T::value_type item) {
  c.insert(std::move(item));
};
template <class T>
concept sequence_container =
    container<T> && !map_container<T> && !set_container<T> && requires(T & c, typename T::value_type item) {
  c.push_back(std::move(item));
  c.clear();
};

template <class T>
inline constexpr bool may_be_nil = std::is_same_v<T, std::monostate> || std::is_same_v<T, std::nullptr_t>;
template <class T>
inline constexpr bool may_be_nil<std::optional<T>> = true;

// An announced number of items is no reason to take memory for them: not more than this is reserved before they were
// read.
inline constexpr std::size_t reserve_limit_bytes = 65536;

void expect_items(const decoder& in, std::size_t expected, std::size_t found, std::string_view type);
[[noreturn]] void reject_range(const decoder& in, std::string_view type, std::int64_t found);
[[noreturn]] void reject_range(const decoder& in, std::string_view type, std::uint64_t found);
[[noreturn]] void reject_range(const decoder& in, std::string_view type, double found);
[[noreturn]] void reject_alternative(const decoder& in, std::string_view type, std::size_t alternatives,
                                     std::uint64_t found);
[[noreturn]] void reject_field(const decoder& in, std::string_view type, const char* trouble, std::string_view field);

}  // namespace detail

template <>
struct codec<bool> {
  static void encode(encoder& out, bool value) { out.boolean(value); }
  static bool decode(decoder& in) { return in.boolean(); }
};

template <detail::wire_integer T>
struct codec<T> {
  static void encode(encoder& out, T value) {
    if constexpr (std::signed_integral<T>) {
      out.integer(value);
    } else {
      out.unsigned_integer(value);
    }
  }
  static T decode(decoder& in) {
    if constexpr (std::signed_integral<T>) {
      return narrowed(in, in.integer());
    } else {
      return narrowed(in, in.unsigned_integer());
    }
  }

 private:
  template <class Wide>
  static T narrowed(const decoder& in, Wide wide) {
    if (wide < std::numeric_limits<T>::min() || wide > std::numeric_limits<T>::max()) {
      detail::reject_range(in, detail::type_name<T>(), wide);
    }
    return static_cast<T>(wide);
  }
};

template <>
struct codec<double> {
  static void encode(encoder& out, double value) { out.real(value); }
  static double decode(decoder& in) { return in.real(); }
};

/// Loses the digits that a float does not have, but not the magnitude.
template <>
struct codec<float> {
  static void encode(encoder& out, float value) { out.real(value); }
  static float decode(decoder& in) {
    constexpr double infinity = std::numeric_limits<double>::infinity();
    const double wide = in.real();
    const bool finite = wide > -infinity && wide < infinity;
    if (finite && (wide < std::numeric_limits<float>::lowest() || wide > std::numeric_limits<float>::max())) {
      detail::reject_range(in, "float", wide);
    }
    return static_cast<float>(wide);
  }
};

template <class T>
requires std::is_enum_v<T>
struct codec<T> {
  using number = std::underlying_type_t<T>;
  static void encode(encoder& out, T value) { codec<number>::encode(out, static_cast<number>(value)); }
  static T decode(decoder& in) { return static_cast<T>(codec<number>::decode(in)); }
};

template <>
struct codec<std::monostate> {
  static void encode(encoder& out, std::monostate) { out.nil(); }
  static std::monostate decode(decoder& in) {
    in.nil();
    return {};
  }
};

template <>
struct codec<std::nullptr_t> {
  static void encode(encoder& out, std::nullptr_t) { out.nil(); }
  static std::nullptr_t decode(decoder& in) {
    in.nil();
    return nullptr;
  }
};

template <>
struct codec<std::string> {
  static void encode(encoder& out, const std::string& value) { out.string(value); }
  static std::string decode(decoder& in) { return std::string(in.string()); }
};

template <>
struct codec<std::string_view> {
  static void encode(encoder& out, std::string_view value) { out.string(value); }
};

template <>
struct codec<const char*> {
  static void encode(encoder& out, const char* value) { out.string(value); }
};

template <std::size_t Size>
struct codec<char[Size]> {
  static void encode(encoder& out, const char (&value)[Size]) { out.string({value, ::strnlen(value, Size)}); }
};

template <class T>
requires(!detail::may_be_nil<T>)  // nil would have two meanings
    struct codec<std::optional<T>> {
  using parts = std::tuple<T>;
  static void encode(encoder& out, const std::optional<T>& value) {
    if (value.has_value()) {
      codec<T>::encode(out, *value);
    } else {
      out.nil();
    }
  }
  static std::optional<T> decode(decoder& in) {
    if (in.peek() == value_kind::nil) {
      in.nil();
      return std::nullopt;
    }
    return codec<T>::decode(in);
  }
};

template <detail::sequence_container T>
struct codec<T> {
  using item = typename T::value_type;
  using parts = std::tuple<item>;

  static void encode(encoder& out, const T& values) {
    const detail::nesting level(out);
    out.begin_array(values.size());
    for (const item& value : values) {
      codec<item>::encode(out, value);
    }
  }

  static T decode(decoder& in) {
    const decoder::group items = in.begin_array();
    T values;
    if constexpr (requires { values.reserve(items.size()); }) {
      values.reserve(std::min(items.size(), detail::reserve_limit_bytes / sizeof(item) + 1));
    }
    for (std::size_t i = 0; i < items.size(); ++i) {
      values.push_back(codec<item>::decode(in));
    }
    in.end(items);
    return values;
  }
};

template <class Allocator>
struct codec<std::vector<std::byte, Allocator>> {
  using bytes = std::vector<std::byte, Allocator>;
  static void encode(encoder& out, const bytes& value) { out.binary(value); }
  static bytes decode(decoder& in) {
    const const_bytes found = in.binary();
    return bytes(found.begin(), found.end());
  }
};

template <detail::set_container T>
struct codec<T> {
  using item = typename T::value_type;
  using parts = std::tuple<item>;

  static void encode(encoder& out, const T& values) {
    const detail::nesting level(out);
    out.begin_array(values.size());
    for (const item& value : values) {
      codec<item>::encode(out, value);
    }
  }

  static T decode(decoder& in) {
    const decoder::group items = in.begin_array();
    T values;
    for (std::size_t i = 0; i < items.size(); ++i) {
      values.insert(codec<item>::decode(in));
    }
    in.end(items);
    return values;
  }
};

/// A key that comes twice keeps its last value, as in Python.
template <detail::map_container T>
struct codec<T> {
  using key = typename T::key_type;
  using mapped = typename T::mapped_type;
  using parts = std::tuple<key, mapped>;

  static void encode(encoder& out, const T& values) {
    const detail::nesting level(out);
    out.begin_map(values.size());
    for (const auto& [name, value] : values) {
      codec<key>::encode(out, name);
      codec<mapped>::encode(out, value);
    }
  }

  static T decode(decoder& in) {
    const decoder::group entries = in.begin_map();
    T values;
    for (std::size_t i = 0; i < entries.size(); ++i) {
      key name = codec<key>::decode(in);
      values.insert_or_assign(std::move(name), codec<mapped>::decode(in));
    }
    in.end(entries);
    return values;
  }
};

template <std::default_initializable T, std::size_t Size>
struct codec<std::array<T, Size>> {
  using parts = std::tuple<T>;

  static void encode(encoder& out, const std::array<T, Size>& values) {
    const detail::nesting level(out);
    out.begin_array(Size);
    for (const T& value : values) {
      codec<T>::encode(out, value);
    }
  }

  static std::array<T, Size> decode(decoder& in) {
    const decoder::group items = in.begin_array();
    detail::expect_items(in, Size, items.size(), detail::type_name<std::array<T, Size>>());
    std::array<T, Size> values{};
    for (T& value : values) {
      value = codec<T>::decode(in);
    }
    in.end(items);
    return values;
  }
};

template <std::size_t Size>
struct codec<std::array<std::byte, Size>> {
  using bytes = std::array<std::byte, Size>;
  static void encode(encoder& out, const bytes& value) { out.binary(value); }
  static bytes decode(decoder& in) {
    const const_bytes found = in.binary();
    detail::expect_items(in, Size, found.size(), detail::type_name<bytes>());
    bytes value;
    std::copy(found.begin(), found.end(), value.begin());
    return value;
  }
};

namespace detail {

// What std::pair, std::tuple and aggregates share. `Fields` is a std::tuple of their members' types.
template <class T, class Fields>
struct fields_codec;

template <class T, class... Field>
struct fields_codec<T, std::tuple<Field...>> {
  static void encode(encoder& out, const Field&... field) {
    const nesting level(out);
    out.begin_tuple(sizeof...(Field));
    (codec<Field>::encode(out, field), ...);
    out.end_tuple();
  }

  static T decode(decoder& in) {
    const decoder::group items = in.begin_array();
    expect_items(in, sizeof...(Field), items.size(), type_name<T>());
    T value{codec<Field>::decode(in)...};  // braces: from left to right
    in.end(items);
    return value;
  }
};

}  // namespace detail

template <class First, class Second>
struct codec<std::pair<First, Second>> {
  using parts = std::tuple<First, Second>;
  using fields = detail::fields_codec<std::pair<First, Second>, parts>;
  static void encode(encoder& out, const std::pair<First, Second>& value) {
    fields::encode(out, value.first, value.second);
  }
  static std::pair<First, Second> decode(decoder& in) { return fields::decode(in); }
};

template <class... Item>
struct codec<std::tuple<Item...>> {
  using parts = std::tuple<Item...>;
  using fields = detail::fields_codec<parts, parts>;
  static void encode(encoder& out, const parts& value) {
    std::apply([&](const Item&... item) { fields::encode(out, item...); }, value);
  }
  static parts decode(decoder& in) { return fields::decode(in); }
};

template <class... Alternative>
struct codec<std::variant<Alternative...>> {
  using variant = std::variant<Alternative...>;
  using parts = std::tuple<Alternative...>;

  /// @throws std::bad_variant_access  it is valueless by exception.
  static void encode(encoder& out, const variant& value) {
    const detail::nesting level(out);
    std::visit(
        [&]<class T>(const T& held) {
          out.begin_tuple(2);
          out.unsigned_integer(value.index());
          codec<T>::encode(out, held);
          out.end_tuple();
        },
        value);
  }

  static variant decode(decoder& in) {
    const decoder::group items = in.begin_array();
    detail::expect_items(in, 2, items.size(), detail::type_name<variant>());
    const std::uint64_t index = in.unsigned_integer();
    if (index >= sizeof...(Alternative)) {
      detail::reject_alternative(in, detail::type_name<variant>(), sizeof...(Alternative), index);
    }
    variant value = readers(std::index_sequence_for<Alternative...>{})[index](in);
    in.end(items);
    return value;
  }

 private:
  using reader = variant (*)(decoder&);

  template <std::size_t Index>
  static variant read(decoder& in) {
    return variant(std::in_place_index<Index>, codec<std::variant_alternative_t<Index, variant>>::decode(in));
  }
  template <std::size_t... Index>
  static constexpr std::array<reader, sizeof...(Index)> readers(std::index_sequence<Index...>) {
    return {&read<Index>...};
  }
};

}  // namespace shoal
