#pragma once

#include <concepts>
#include <exception>
#include <string>
#include <type_traits>
#include <typeinfo>
#include <utility>

#include "shoal/codec.hpp"

namespace shoal {
namespace detail {

/// An exception as it arrives: it is an E, and nested in it is the remote_error that says where it came from.
template <class E>
class arrived_exception : public E, public std::nested_exception {
 public:
  explicit arrived_exception(E&& thrown) : E(std::move(thrown)) {}
};

struct exception_codec {
  void (*encode)(encoder& out, const std::exception_ptr& thrown);
  /// While the remote_error is being handled. @return null: this one cannot be read.
  std::exception_ptr (*decode)(decoder& in);
};

/// @return true
bool add_exception(const std::type_info& type, const std::type_info& arrived, exception_codec codec);

template <class E>
inline constexpr bool is_made_of_text = std::is_constructible_v<E, std::string>&& std::derived_from<E, std::exception>;

template <class E>
void encode_exception(encoder& out, const std::exception_ptr& thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const E& caught) {
    if constexpr (encodable<E>) {
      shoal::encode(out, caught);
    } else if constexpr (is_made_of_text<E>) {
      out.string(caught.what());
    }
  }
}

template <class E>
E decode_exception(decoder& in) {
  if constexpr (encodable<E>) {
    return decode<E>(in);
  } else if constexpr (is_made_of_text<E>) {
    return E(std::string(in.string()));
  } else {
    return E();
  }
}

template <class E>
const std::type_info& type_as_arrived() {
  if constexpr (std::is_final_v<E>) {
    return typeid(E);
  } else {
    return typeid(arrived_exception<E>);
  }
}

template <class E>
std::exception_ptr make_exception(E&& thrown) {
  if constexpr (std::is_final_v<E>) {
    return std::make_exception_ptr(std::forward<E>(thrown));
  } else {
    return std::make_exception_ptr(arrived_exception<E>(std::forward<E>(thrown)));
  }
}

}  // namespace detail

/// Makes exceptions of type E, thrown by tasks of a pool, arrive as an E, instead of as a remote_error, which is then
/// nested in it (unless E is final). At namespace scope, so that it is done in every process of the program:
///
///     const bool registered = shoal::register_exception<parse_error>();
///
/// Of an E what shoal::codec<E> knows is sent; without one its what(), for a constructor that takes a std::string; or
/// else nothing. What is derived from E has to be registered too. Those of <stdexcept>, std::bad_alloc,
/// std::system_error and shoal::error are registered.
///
/// Threads: may be called concurrently. @return true
template <class E>
bool register_exception() {
  static_assert(std::is_class_v<E>, "shoal: only classes can be told apart by a handler in another process");
  static_assert(encodable<E> || detail::is_made_of_text<E> || std::is_default_constructible_v<E>,
                "shoal: this exception has no shoal::codec, no constructor that takes a std::string, and no default "
                "constructor");
  return detail::add_exception(typeid(E), detail::type_as_arrived<E>(),
                               {detail::encode_exception<E>, [](decoder& in) -> std::exception_ptr {
                                  return detail::make_exception<E>(detail::decode_exception<E>(in));
                                }});
}

}  // namespace shoal
