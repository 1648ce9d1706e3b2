#include "shoal/codec.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <deque>
#include <limits>
#include <list>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>

#include "codec_support.hpp"

namespace {

using namespace codec_test;

// --- what can be encoded

static_assert(encodable<bool> && encodable<char> && encodable<unsigned long long> && encodable<float>);
static_assert(encodable<std::string> && encodable<std::vector<std::string>> && encodable<std::vector<bool>>);
static_assert(encodable<std::map<std::string, std::vector<codec_test::point>>> &&
              encodable<std::unordered_map<int, int>>);
static_assert(encodable<std::set<int>> && encodable<std::deque<int>> && encodable<std::list<codec_test::tree>>);
static_assert(encodable<std::tuple<>> && encodable<std::variant<std::monostate, int>>);
static_assert(encodable<codec_test::point> && encodable<codec_test::tree> && encodable<codec_test::mixed> &&
              encodable<codec_test::price>);
static_assert(encodable<codec_test::move_only> && encodable<codec_test::empty> && encodable<codec_test::sixteen>);

static_assert(!encodable<int*> && !encodable<void*> && !encodable<std::string_view> && !encodable<const char*>);
static_assert(!encodable<long double> && !encodable<std::optional<std::optional<int>>>);
static_assert(!encodable<std::multimap<int, int>>);  // a dict would lose entries
static_assert(!encodable<codec_test::with_c_array> && !encodable<codec_test::with_base> &&
              !encodable<codec_test::with_pointer>);
static_assert(!encodable<codec_test::seventeen> && !encodable<codec_test::with_view>);
static_assert(!encodable<std::vector<std::map<int, codec_test::with_pointer>>>);
static_assert(!encodable<std::unique_ptr<double>> && !encodable<std::vector<std::unique_ptr<double>>>);

static_assert(shoal::detail::field_count<codec_test::mixed> == 8 && shoal::detail::field_count<codec_test::empty> == 0);
static_assert(shoal::detail::has_pointer_member<codec_test::with_pointer>() &&
              !shoal::detail::has_pointer_member<codec_test::mixed>());
static_assert(shoal::detail::examine_aggregate<codec_test::with_c_array>() ==
              shoal::detail::aggregate_trouble::array_member);
static_assert(shoal::detail::examine_aggregate<codec_test::with_base>() ==
              shoal::detail::aggregate_trouble::base_class);

// --- round trips

template <class T>
void expect_integers_survive() {
  using limits = std::numeric_limits<T>;
  for (const T value : {limits::min(), static_cast<T>(limits::min() + 1), T{0}, T{1}, T{31}, T{32}, T{127},
                        static_cast<T>(limits::max() / 2), static_cast<T>(limits::max() / 2 + 1), limits::max()}) {
    EXPECT_EQ(round_trip(value), value);
  }
}

TEST(Codec, IntegersOfEveryWidthKeepTheirValue) {
  expect_integers_survive<char>();
  expect_integers_survive<std::int8_t>();
  expect_integers_survive<std::uint8_t>();
  expect_integers_survive<std::int16_t>();
  expect_integers_survive<std::uint16_t>();
  expect_integers_survive<std::int32_t>();
  expect_integers_survive<std::uint32_t>();
  expect_integers_survive<std::int64_t>();
  expect_integers_survive<std::uint64_t>();
}

TEST(Codec, FloatingPointNumbersKeepEveryBit) {
  for (const double value : {0.0, -0.0, 1.0, -1.5, 0.1, 1e300, std::numeric_limits<double>::denorm_min(),
                             std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity()}) {
    EXPECT_EQ(std::bit_cast<std::uint64_t>(round_trip(value)), std::bit_cast<std::uint64_t>(value));
  }
  EXPECT_TRUE(std::isnan(round_trip(std::numeric_limits<double>::quiet_NaN())));
  EXPECT_EQ(round_trip(0.1f), 0.1f);
  EXPECT_EQ(round_trip(std::numeric_limits<float>::infinity()), std::numeric_limits<float>::infinity());
}

TEST(Codec, AWholeNumberInADoubleStaysAFloatOnTheWire) {
  EXPECT_EQ(encoded(1.0), of_hex({0xcb, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(encoded(1.0f), of_hex({0xca, 0x3f, 0x80, 0, 0}));
}

TEST(Codec, TextAndBytesKeepTheirLengthAndNuls) {
  EXPECT_EQ(round_trip(std::string()), "");
  EXPECT_EQ(round_trip(std::string("a\0b", 3)), std::string("a\0b", 3));
  for (const std::size_t size : {31u, 32u, 255u, 256u, 65535u, 65536u, 1000000u}) {
    EXPECT_EQ(round_trip(std::string(size, 'x')), std::string(size, 'x'));
    EXPECT_EQ(round_trip(bytes(size, std::byte{7})), bytes(size, std::byte{7}));
  }
  const std::array<std::byte, 3> three{std::byte{1}, std::byte{2}, std::byte{3}};
  EXPECT_EQ(round_trip(three), three);
}

TEST(Codec, ViewsAndLiteralsAreWrittenAsText) {
  EXPECT_EQ(decode<std::string>(const_bytes(encoded("literal"))), "literal");
  EXPECT_EQ(decode<std::string>(const_bytes(encoded(std::string_view("view")))), "view");
  const char* pointer = "pointer";
  EXPECT_EQ(decode<std::string>(const_bytes(encoded(pointer))), "pointer");
}

TEST(Codec, StandardContainersKeepTheirItems) {
  EXPECT_EQ(round_trip(std::vector<int>{}), std::vector<int>{});
  EXPECT_EQ(round_trip(std::vector<int>(70000, -5)), std::vector<int>(70000, -5));
  EXPECT_EQ(round_trip(std::vector<bool>{true, false}), (std::vector<bool>{true, false}));
  EXPECT_EQ(round_trip(std::deque<std::string>{"a", "b"}), (std::deque<std::string>{"a", "b"}));
  EXPECT_EQ(round_trip(std::list<int>{1, 2}), (std::list<int>{1, 2}));
  EXPECT_EQ(round_trip(std::set<int>{3, 1}), (std::set<int>{1, 3}));
  EXPECT_EQ(round_trip(std::array<int, 3>{1, 2, 3}), (std::array<int, 3>{1, 2, 3}));
  const std::map<std::string, std::vector<int>> map{{"a", {1}}, {"b", {}}};
  EXPECT_EQ(round_trip(map), map);
  const std::unordered_map<std::uint64_t, std::string> hashed{{1, "x"}, {~0ull, "y"}};
  EXPECT_EQ(round_trip(hashed), hashed);
}

TEST(Codec, OptionalPairTupleVariantAndNilKeepTheirValue) {
  EXPECT_EQ(round_trip(std::optional<int>()), std::nullopt);
  EXPECT_EQ(round_trip(std::optional<int>(5)), 5);
  EXPECT_EQ(round_trip(std::pair<int, std::string>(1, "x")), (std::pair<int, std::string>(1, "x")));
  EXPECT_EQ(round_trip(std::tuple<>()), std::tuple<>());
  EXPECT_EQ(round_trip(std::tuple<std::tuple<int>>(std::tuple<int>(4))),
            std::tuple<std::tuple<int>>(std::tuple<int>(4)));
  EXPECT_EQ(round_trip(std::monostate()), std::monostate());
  using either = std::variant<std::monostate, int, std::string, int>;
  for (const either& value :
       {either(), either(std::in_place_index<1>, 7), either("x"), either(std::in_place_index<3>, 7)}) {
    EXPECT_EQ(round_trip(value), value);
  }
}

TEST(Codec, AnEnumerationTravelsAsItsNumber) {
  EXPECT_EQ(encoded(codec_test::color::blue), encoded(200));
  EXPECT_EQ(round_trip(codec_test::color::red), codec_test::color::red);
}

TEST(Codec, AggregatesNeedNoBoilerplate) {
  EXPECT_EQ(round_trip(codec_test::point{1, 2}), (codec_test::point{1, 2}));
  EXPECT_EQ(round_trip(codec_test::empty{}), codec_test::empty{});
  const codec_test::sixteen many{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
  EXPECT_EQ(round_trip(many), many);
  const codec_test::tree tree{1, {{2, {}}, {3, {{4, {}}}}}};
  EXPECT_EQ(round_trip(tree), tree);
  const codec_test::mixed mixed{true, "text", 3, {{1, 2}}, {{"k", {1, 2}}}, "either", {'c', 'o', 'd', 'e'}, {1, "p"}};
  EXPECT_EQ(round_trip(mixed), mixed);
}

TEST(Codec, ATypeOfOnesOwnIsEncodedAsItsCodecSays) {
  EXPECT_EQ(encoded(codec_test::money::from_cents(5)), encoded(5));
  const codec_test::price price{codec_test::money::from_cents(-1), "EUR"};
  EXPECT_EQ(round_trip(price), price);
  EXPECT_EQ(round_trip(codec_test::move_only{codec_test::token(9)}).one.number(), 9);
}

TEST(Codec, AnEncoderIsReusedAfterClear) {
  shoal::encoder out;
  encode(out, std::string(1000, 'x'));
  out.clear();
  encode(out, 5);
  EXPECT_EQ(decode<int>(out.bytes()), 5);
}

TEST(Codec, ValuesAreReadOneAfterTheOther) {
  shoal::encoder out;
  encode(out, 1);
  encode(out, "two");
  encode(out, codec_test::point{3, 4});
  shoal::decoder in(out.bytes());
  EXPECT_EQ(decode<int>(in), 1);
  EXPECT_EQ(decode<std::string>(in), "two");
  in.skip();
  in.finish();
}

// --- what is on the wire

TEST(Codec, ATupleIsExtensionOneAroundAnArray) {
  EXPECT_EQ(encoded(std::tuple(1, true)), of_hex({0xc7, 3, 1, 0x92, 1, 0xc3}));
  EXPECT_EQ(encoded(std::tuple<>()), of_hex({0xc7, 1, 1, 0x90}));
}

TEST(Codec, TuplesOfEveryLengthAndNestingAreWhole) {
  for (const std::size_t size : {0u, 100u, 248u, 249u, 250u, 251u, 252u, 253u, 254u, 255u, 256u, 65520u, 65530u, 65531u,
                                 65532u, 65533u, 65540u, 200000u}) {
    const auto value = std::tuple(1, std::tuple(std::string(size, 'x'), std::tuple(2.5)), std::string("end"));
    EXPECT_EQ(round_trip(value), value) << size;
    EXPECT_NO_THROW(as_seen_by_msgpack(encoded(value))) << size;
  }
}

TEST(Codec, OtherImplementationsReadTheSame) {
  EXPECT_EQ(as_seen_by_msgpack(encoded(std::map<std::string, std::vector<int>>{{"a", {1, -2, 300000}}})),
            R"({"a":[1,-2,300000]})");
  EXPECT_EQ(as_seen_by_msgpack(encoded(std::vector<std::optional<bool>>{true, {}, false})), "[true,null,false]");
  EXPECT_EQ(as_seen_by_msgpack(encoded(std::vector<double>{0.5, -2.25})), "[0.5,-2.25]");
}

TEST(Codec, EveryFormOfTheFormatIsRead) {
  EXPECT_EQ(decode<int>(const_bytes(of_hex({0xd1, 0xff, 0xfe}))), -2);
  EXPECT_EQ(decode<int>(const_bytes(of_hex({0xcf, 0, 0, 0, 0, 0, 0, 0, 5}))), 5);
  EXPECT_EQ(decode<std::string>(const_bytes(of_hex({0xdb, 0, 0, 0, 1, 'x'}))), "x");
  EXPECT_EQ(decode<std::vector<int>>(const_bytes(of_hex({0xdd, 0, 0, 0, 1, 7}))), std::vector<int>{7});
  EXPECT_EQ((decode<std::map<int, int>>(const_bytes(of_hex({0xde, 0, 1, 1, 2})))), (std::map<int, int>{{1, 2}}));
  EXPECT_EQ((decode<std::tuple<int>>(const_bytes(of_hex({0xd5, 1, 0x91, 7})))), std::tuple(7));
  EXPECT_EQ((decode<std::tuple<int>>(const_bytes(of_hex({0xc9, 0, 0, 0, 2, 1, 0x91, 7})))), std::tuple(7));
}

TEST(Codec, ListsAndTuplesAreReadAlike) {
  EXPECT_EQ((decode<std::tuple<int, int>>(const_bytes(encoded(std::vector<int>{1, 2})))), std::tuple(1, 2));
  EXPECT_EQ((decode<std::vector<int>>(const_bytes(encoded(std::tuple(1, 2))))), (std::vector<int>{1, 2}));
  EXPECT_EQ((decode<codec_test::point>(const_bytes(encoded(std::vector<double>{1, 2})))), (codec_test::point{1, 2}));
}

TEST(Codec, ADoubleAcceptsIntegersItHoldsExactly) {
  EXPECT_EQ(decode<double>(const_bytes(encoded(-3))), -3.0);
  EXPECT_EQ(decode<double>(const_bytes(encoded(std::int64_t{1} << 60))), std::ldexp(1, 60));
  EXPECT_EQ(decode<double>(const_bytes(encoded(std::numeric_limits<std::int64_t>::min()))), -std::ldexp(1, 63));
  EXPECT_CONTAINS(failure_to_decode<double>(errc::wrong_type, encoded((std::int64_t{1} << 53) + 1)),
                  "9007199254740993");
}

// --- named fields

using object = std::map<std::string, std::variant<int, std::string>>;

template <class... Entry>
bytes named(std::size_t entries, const Entry&... entry) {
  shoal::encoder out;
  out.begin_map(entries);
  (encode(out, entry), ...);
  return {out.bytes().begin(), out.bytes().end()};
}

TEST(Codec, NamedFieldsTravelAsAMap) {
  EXPECT_EQ(as_seen_by_msgpack(encoded(codec_test::named_point{1, "p"})), R"({"x":1,"label":"p"})");
}

TEST(Codec, NamedFieldsAreReadInAnyOrderAndFromATuple) {
  const codec_test::named_point expected{1, "p"};
  EXPECT_EQ(decode<codec_test::named_point>(const_bytes(named(2, "label", "p", "x", 1))), expected);
  EXPECT_EQ(decode<codec_test::named_point>(const_bytes(encoded(std::tuple(1, "p")))), expected);
}

TEST(Codec, AMissingFieldIsNamed) {
  EXPECT_CONTAINS(failure_to_decode<codec_test::named_point>(errc::wrong_type, named(1, "x", 1)),
                  "named_point was sent without its field 'label'");
}

TEST(Codec, AnUnknownFieldIsNamed) {
  EXPECT_CONTAINS(failure_to_decode<codec_test::named_point>(errc::wrong_type, named(3, "x", 1, "y", 2, "label", "p")),
                  "has no field 'y'");
}

TEST(Codec, AFieldGivenTwiceIsNamed) {
  EXPECT_CONTAINS(failure_to_decode<codec_test::named_point>(errc::wrong_type, named(2, "x", 1, "x", 2)),
                  "was given twice the field 'x'");
}

}  // namespace
