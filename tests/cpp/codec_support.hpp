#pragma once

// Types and helpers of the codec's tests.

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "shoal/codec.hpp"
#include "shoal/error.hpp"
#include "wire/msgpack.hpp"

namespace codec_test {

struct point {
  double x, y;
  bool operator==(const point&) const = default;
};

struct named_point {
  int x;
  std::string label;
  bool operator==(const named_point&) const = default;
};

struct tree {
  int value;
  std::vector<tree> children;
  bool operator==(const tree&) const = default;
};

struct empty {
  bool operator==(const empty&) const = default;
};

struct sixteen {
  int a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p;
  bool operator==(const sixteen&) const = default;
};

struct mixed {
  bool flag;
  std::string text;
  std::optional<int> maybe;
  std::vector<point> line;
  std::map<std::string, std::vector<int>> index;
  std::variant<int, std::string> either;
  std::array<char, 4> code;
  named_point inner;
  bool operator==(const mixed&) const = default;
};

enum class color : std::uint8_t { red = 1, blue = 200 };

class money {
 public:
  static money from_cents(std::int64_t cents) { return money(cents); }
  std::int64_t cents() const { return cents_; }
  bool operator==(const money&) const = default;

 private:
  explicit money(std::int64_t cents) : cents_(cents) {}
  std::int64_t cents_;
};

struct price {
  money amount;  // no default constructor
  std::string currency;
  bool operator==(const price&) const = default;
};

class token {
 public:
  explicit token(int number) : number_(number) {}
  token(token&&) = default;
  token& operator=(token&&) = default;
  token(const token&) = delete;
  token& operator=(const token&) = delete;
  ~token() = default;
  int number() const { return number_; }

 private:
  int number_;
};

struct move_only {
  token one;
};

struct with_c_array {
  int before;
  int values[3];
  double after;
};
struct with_base : point {
  int more;
};
struct with_pointer {
  int size;
  int* data;
};
struct seventeen {
  int a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q;
};
struct with_view {
  std::string_view text;
};

}  // namespace codec_test

template <>
inline constexpr auto shoal::field_names<codec_test::named_point> = std::array{"x", "label"};

template <>
struct shoal::codec<codec_test::money> {
  static void encode(encoder& out, const codec_test::money& value) { out.integer(value.cents()); }
  static codec_test::money decode(decoder& in) { return codec_test::money::from_cents(in.integer()); }
};

template <>
struct shoal::codec<codec_test::token> {
  static void encode(encoder& out, const codec_test::token& value) { out.integer(value.number()); }
  static codec_test::token decode(decoder& in) { return codec_test::token(static_cast<int>(in.integer())); }
};

namespace codec_test {

using shoal::const_bytes;
using shoal::decode;
using shoal::encodable;
using shoal::encode;
using shoal::errc;

using bytes = std::vector<std::byte>;

template <class T>
bytes encoded(const T& value) {
  shoal::encoder out;
  encode(out, value);
  return {out.bytes().begin(), out.bytes().end()};
}

template <class T>
T round_trip(const T& value) {
  return decode<T>(const_bytes(encoded(value)));
}

inline bytes of_hex(std::initializer_list<int> values) {
  bytes result;
  for (const int value : values) {
    result.push_back(static_cast<std::byte>(value));
  }
  return result;
}

// What another implementation reads in our bytes, as text.
inline std::string as_seen_by_msgpack(const bytes& input) {
  const auto handle = msgpack::unpack(reinterpret_cast<const char*>(input.data()), input.size());
  std::ostringstream text;
  text << handle.get();
  return text.str();
}

// The text of the error, after checking its code.
template <class Call>
std::string failure(errc expected, Call call) {
  try {
    call();
  } catch (const shoal::error& e) {
    EXPECT_EQ(e.code(), shoal::make_error_code(expected)) << e.what();
    return e.what();
  }
  ADD_FAILURE() << "no shoal::error was thrown";
  return {};
}

template <class T>
std::string failure_to_decode(errc expected, const bytes& input) {
  return failure(expected, [&] { static_cast<void>(decode<T>(const_bytes(input))); });
}

inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace codec_test

#define EXPECT_CONTAINS(text, part) EXPECT_PRED2(codec_test::contains, text, part)
