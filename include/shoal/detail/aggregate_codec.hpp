#pragma once

// The codec of aggregates; its contract is in shoal/codec.hpp, which includes this.

#include <cstddef>
#include <iterator>
#include <optional>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include "shoal/codec.hpp"
#include "shoal/detail/aggregate.hpp"
#include "shoal/detail/standard_codecs.hpp"

namespace shoal {
namespace detail {

template <class T>
inline constexpr bool has_field_names = !std::is_same_v<std::remove_const_t<decltype(field_names<T>)>, std::nullptr_t>;

template <class T>
struct aggregate_codec {
  using parts = field_types<T>;
  static constexpr std::size_t count = std::tuple_size_v<parts>;

  static void encode(encoder& out, const T& value) {
    if constexpr (has_field_names<T>) {
      const nesting level(out);
      out.begin_map(count);
      encode_named(out, fields(value), std::make_index_sequence<count>{});
    } else {
      std::apply([&](const auto&... field) { fields_codec<T, parts>::encode(out, field...); }, fields(value));
    }
  }

  static T decode(decoder& in) {
    if constexpr (has_field_names<T>) {
      if (in.peek() == value_kind::map) {
        return decode_named(in, std::make_index_sequence<count>{});
      }
    }
    return fields_codec<T, parts>::decode(in);
  }

 private:
  template <std::size_t Index>
  using field = std::tuple_element_t<Index, parts>;

  static constexpr std::string_view name(std::size_t index) {
    static_assert(std::size(field_names<T>) == count,
                  "shoal: field_names must name every member of the aggregate, in order");
    return field_names<T>[index];
  }

  template <class Fields, std::size_t... Index>
  static void encode_named(encoder& out, const Fields& values, std::index_sequence<Index...>) {
    ((out.string(name(Index)), codec<field<Index>>::encode(out, std::get<Index>(values))), ...);
  }

  template <std::size_t... Index>
  static T decode_named(decoder& in, std::index_sequence<Index...>) {
    const decoder::group entries = in.begin_map();
    std::tuple<std::optional<field<Index>>...> values;
    for (std::size_t i = 0; i < entries.size(); ++i) {
      const std::string_view found = in.string();
      if (!((found == name(Index) && (read_field<Index>(in, std::get<Index>(values)), true)) || ...)) {
        reject_field(in, type_name<T>(), "has no field", found);
      }
    }
    in.end(entries);
    return T{given<Index>(in, std::get<Index>(values))...};
  }

  template <std::size_t Index>
  static void read_field(decoder& in, std::optional<field<Index>>& value) {
    if (value.has_value()) {
      reject_field(in, type_name<T>(), "was given twice the field", name(Index));
    }
    value.emplace(codec<field<Index>>::decode(in));
  }

  template <std::size_t Index>
  static field<Index>&& given(const decoder& in, std::optional<field<Index>>& value) {
    if (!value.has_value()) {
      reject_field(in, type_name<T>(), "was sent without its field", name(Index));
    }
    return std::move(*value);
  }
};

template <class T>
concept plain_aggregate = examine_aggregate<T>()
== aggregate_trouble::none;

}  // namespace detail

// Only the functions look at the types of the members: a class with bit-fields cannot be taken apart, but it can travel
// raw, and queue<T> asks whether there is a codec.
template <detail::plain_aggregate T>
struct codec<T> : detail::codec_of_aggregate {
  static void encode(encoder& out, const T& value) { detail::aggregate_codec<T>::encode(out, value); }
  static T decode(decoder& in) { return detail::aggregate_codec<T>::decode(in); }
};

}  // namespace shoal
