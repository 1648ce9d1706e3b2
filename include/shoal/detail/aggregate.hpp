#pragma once

#include <cstddef>
#include <tuple>
#include <type_traits>
#include <utility>

/// Aggregates as tuples: how many members one has, and references to them, without a macro or a base class.
namespace shoal::detail {

inline constexpr std::size_t max_fields = 16;
inline constexpr std::size_t no_count = static_cast<std::size_t>(-1);

// Stands for a member of any type but Whole itself (that would be a copy) and its bases. Not constexpr: gcc would want
// something to evaluate. Never called, but defined: clang misses the definition where the type is local to a source
// file.
template <class Whole, std::size_t>
struct any_field {
  template <class Field>
  requires(!std::is_same_v<Field, Whole> && !std::is_base_of_v<Field, Whole>) operator Field()
      const noexcept {  // NOLINT(google-explicit-constructor): converting is all it does
    __builtin_unreachable();
  }
};

template <class Whole>
struct any_base {
  template <class Base>
  requires(!std::is_same_v<Base, Whole> && std::is_base_of_v<Base, Whole>) operator Base()
      const noexcept {  // NOLINT(google-explicit-constructor)
    __builtin_unreachable();
  }
};

template <std::size_t>
struct any_pointer {
  template <class Target>
  operator Target*() const noexcept {  // NOLINT(google-explicit-constructor)
    __builtin_unreachable();
  }
};

template <class T, std::size_t... I>
consteval bool takes_initializers(std::index_sequence<I...>) {
  return requires { T{any_field<T, I>{}...}; };
}

// From the top, because an aggregate may need a minimum (a member without default constructor).
template <class T, std::size_t Count = max_fields + 1>
consteval std::size_t count_initializers() {
  if constexpr (takes_initializers<T>(std::make_index_sequence<Count>{})) {
    return Count;
  } else if constexpr (Count == 0) {
    return no_count;
  } else {
    return count_initializers<T, Count - 1>();
  }
}

template <class T, std::size_t... Before, std::size_t... Inside, std::size_t... After>
consteval bool takes_nested(std::index_sequence<Before...>, std::index_sequence<Inside...>,
                            std::index_sequence<After...>) {
  return requires { T{any_field<T, Before>{}..., {any_field<T, Inside>{}...}, any_field<T, After>{}...}; };
}

// A C array takes one initializer per element, so the count above is too high. Its elements in braces of their own fill
// it and leave room for exactly those that follow; a class that is initialized by as many leaves room for more.
template <class T, std::size_t Count, std::size_t At, std::size_t Length>
consteval bool is_array_at() {
  using before = std::make_index_sequence<At>;
  using inside = std::make_index_sequence<Length>;
  return takes_nested<T>(before{}, inside{}, std::make_index_sequence<Count - At - Length>{}) &&
         !takes_nested<T>(before{}, inside{}, std::make_index_sequence<Count - At - Length + 1>{});
}

template <class T, std::size_t Count, std::size_t At, std::size_t... Less>
consteval bool has_array_at(std::index_sequence<Less...>) {
  return (is_array_at<T, Count, At, Less + 2>() || ...);
}

template <class T, std::size_t Count, std::size_t... At>
consteval bool has_array_member(std::index_sequence<At...>) {
  return (has_array_at<T, Count, At>(std::make_index_sequence<Count - At - 1>{}) || ...);
}

template <class T, std::size_t Count, std::size_t At>
consteval bool is_pointer_at() {
  return []<std::size_t... Before>(std::index_sequence<Before...>) {
    return requires { T{any_field<T, Before>{}..., any_pointer<At>{}}; };
  }
  (std::make_index_sequence<At>{});
}

template <class T>
consteval bool has_pointer_member() {
  constexpr std::size_t count = count_initializers<T>();
  return count != no_count&&[]<std::size_t... At>(std::index_sequence<At...>) {
    return (is_pointer_at<T, count, At>() || ...);
  }
  (std::make_index_sequence < count == no_count ? 0 : count > {});
}

/// Why `fields` would not work.
enum class aggregate_trouble { none, not_an_aggregate, base_class, array_member, too_many_members };

template <class T>
consteval aggregate_trouble examine_aggregate() {
  if constexpr (!std::is_class_v<T> || !std::is_aggregate_v<T>) {
    return aggregate_trouble::not_an_aggregate;
  } else if constexpr (requires { T{any_base<T>{}}; }) {
    return aggregate_trouble::base_class;
  } else {
    constexpr std::size_t count = count_initializers<T>();
    if constexpr (count == no_count) {
      return aggregate_trouble::not_an_aggregate;
    } else if constexpr (count > max_fields) {
      return aggregate_trouble::too_many_members;
    } else if constexpr (has_array_member<T, count>(std::make_index_sequence<count>{})) {
      return aggregate_trouble::array_member;
    } else {
      return aggregate_trouble::none;
    }
  }
}

template <class T>
inline constexpr std::size_t field_count = count_initializers<std::remove_const_t<T>>();

/// References to the members of `whole`, in their order.
template <class T>
constexpr auto fields(T& whole) noexcept {
  constexpr std::size_t count = field_count<T>;
  static_assert(count <= max_fields);
  if constexpr (count == 0) {
    return std::tuple<>();
  } else if constexpr (count == 1) {
    auto& [a] = whole;
    return std::tie(a);
  } else if constexpr (count == 2) {
    auto& [a, b] = whole;
    return std::tie(a, b);
  } else if constexpr (count == 3) {
    auto& [a, b, c] = whole;
    return std::tie(a, b, c);
  } else if constexpr (count == 4) {
    auto& [a, b, c, d] = whole;
    return std::tie(a, b, c, d);
  } else if constexpr (count == 5) {
    auto& [a, b, c, d, e] = whole;
    return std::tie(a, b, c, d, e);
  } else if constexpr (count == 6) {
    auto& [a, b, c, d, e, f] = whole;
    return std::tie(a, b, c, d, e, f);
  } else if constexpr (count == 7) {
    auto& [a, b, c, d, e, f, g] = whole;
    return std::tie(a, b, c, d, e, f, g);
  } else if constexpr (count == 8) {
    auto& [a, b, c, d, e, f, g, h] = whole;
    return std::tie(a, b, c, d, e, f, g, h);
  } else if constexpr (count == 9) {
    auto& [a, b, c, d, e, f, g, h, i] = whole;
    return std::tie(a, b, c, d, e, f, g, h, i);
  } else if constexpr (count == 10) {
    auto& [a, b, c, d, e, f, g, h, i, j] = whole;
    return std::tie(a, b, c, d, e, f, g, h, i, j);
  } else if constexpr (count == 11) {
    auto& [a, b, c, d, e, f, g, h, i, j, k] = whole;
    return std::tie(a, b, c, d, e, f, g, h, i, j, k);
  } else if constexpr (count == 12) {
    auto& [a, b, c, d, e, f, g, h, i, j, k, l] = whole;
    return std::tie(a, b, c, d, e, f, g, h, i, j, k, l);
  } else if constexpr (count == 13) {
    auto& [a, b, c, d, e, f, g, h, i, j, k, l, m] = whole;
    return std::tie(a, b, c, d, e, f, g, h, i, j, k, l, m);
  } else if constexpr (count == 14) {
    auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, n] = whole;
    return std::tie(a, b, c, d, e, f, g, h, i, j, k, l, m, n);
  } else if constexpr (count == 15) {
    auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o] = whole;
    return std::tie(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o);
  } else if constexpr (count == 16) {
    auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = whole;
    return std::tie(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p);
  }
}

template <class Tuple>
struct without_references;
template <class... Fields>
struct without_references<std::tuple<Fields&...>> {
  using type = std::tuple<std::remove_const_t<Fields>...>;
};

/// std::tuple of the types of an aggregate's members.
template <class T>
using field_types = typename without_references<decltype(fields(std::declval<T&>()))>::type;

}  // namespace shoal::detail
