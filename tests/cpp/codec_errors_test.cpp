#include <gtest/gtest.h>

#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <utility>

#include "codec_support.hpp"

namespace {

using namespace codec_test;

// --- errors

TEST(Codec, AnIntegerOutOfRangeIsAnErrorThatNamesIt) {
  EXPECT_CONTAINS(failure_to_decode<std::uint8_t>(errc::wrong_type, encoded(300)), "unsigned char, found 300");
  EXPECT_CONTAINS(failure_to_decode<std::int8_t>(errc::wrong_type, encoded(-129)), "signed char, found -129");
  EXPECT_CONTAINS(failure_to_decode<unsigned>(errc::wrong_type, encoded(-1)), "not negative, found the integer -1");
  EXPECT_CONTAINS(failure_to_decode<std::int64_t>(errc::wrong_type, encoded(~0ull)), "18446744073709551615");
  EXPECT_CONTAINS(failure_to_decode<codec_test::color>(errc::wrong_type, encoded(256)), "256");
  EXPECT_CONTAINS(failure_to_decode<float>(errc::wrong_type, encoded(1e300)), "range of float");
}

TEST(Codec, AnotherKindOfValueIsAnErrorThatSaysWhatAndWhere) {
  EXPECT_EQ(failure_to_decode<int>(errc::wrong_type, encoded("text")),
            "expected an integer, found a string of 4 bytes (at byte 0 of 5)");
  EXPECT_EQ(failure_to_decode<std::string>(errc::wrong_type, encoded(std::optional<int>())),
            "expected a string, found nil (at byte 0 of 1)");
  EXPECT_EQ((failure_to_decode<std::vector<int>>(errc::wrong_type, encoded(std::vector<double>{0.5}))),
            "expected an integer, found the floating-point number 0.500000 (at byte 1 of 10)");
  EXPECT_CONTAINS(failure_to_decode<bytes>(errc::wrong_type, encoded("text")), "expected binary data, found a string");
  EXPECT_CONTAINS(failure_to_decode<bool>(errc::wrong_type, encoded(1)), "expected a boolean, found the integer 1");
  EXPECT_CONTAINS(failure_to_decode<int>(errc::wrong_type, of_hex({0xd4, 5, 0})), "extension type 5");
}

TEST(Codec, AWrongNumberOfItemsIsAnError) {
  EXPECT_CONTAINS((failure_to_decode<std::array<int, 2>>(errc::wrong_type, encoded(std::vector<int>{1}))), "2 items");
  EXPECT_CONTAINS((failure_to_decode<codec_test::point>(errc::wrong_type, encoded(std::tuple(1.0, 2.0, 3.0)))),
                  "expected the 2 items of a codec_test::point, found 3");
  EXPECT_CONTAINS((failure_to_decode<std::variant<int, bool>>(errc::wrong_type, encoded(std::tuple(2, 0)))),
                  "2 alternatives");
}

TEST(Codec, BytesBehindTheValueAreAnError) {
  EXPECT_CONTAINS(failure_to_decode<int>(errc::corrupt_record, of_hex({1, 2})), "1 bytes follow");
  EXPECT_CONTAINS((failure_to_decode<std::tuple<int>>(errc::corrupt_record, of_hex({0xc7, 3, 1, 0x91, 1, 2}))),
                  "behind its last item");
}

TEST(Codec, EveryTruncationOfAValueIsAnError) {
  const bytes whole =
      encoded(codec_test::mixed{true, std::string(40, 't'), 3, {{1, 2}}, {{"k", {1, 70000}}}, "either", {}, {1, "p"}});
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    failure_to_decode<codec_test::mixed>(errc::corrupt_record, cut);
  }
}

TEST(Codec, AHugeAnnouncedLengthTakesNoMemory) {
  EXPECT_CONTAINS(failure_to_decode<std::vector<codec_test::mixed>>(errc::corrupt_record,
                                                                    of_hex({0xdd, 0xff, 0xff, 0xff, 0xff, 0})),
                  "announces 4294967295 items, but 1 bytes are left");
  EXPECT_CONTAINS(failure_to_decode<std::string>(errc::corrupt_record, of_hex({0xdb, 0xff, 0xff, 0xff, 0xff, 0})),
                  "4294967295 bytes");
  EXPECT_CONTAINS((failure_to_decode<std::map<int, int>>(errc::corrupt_record, of_hex({0xdf, 0, 0, 0, 2, 0, 0, 0}))),
                  "2 entries");
  EXPECT_CONTAINS((failure_to_decode<std::tuple<int>>(errc::corrupt_record, of_hex({0xc7, 0x10, 1, 0x91, 1}))),
                  "16 bytes");
}

TEST(Codec, ATupleThatIsNoArrayInsideIsAnError) {
  EXPECT_CONTAINS((failure_to_decode<std::tuple<int>>(errc::corrupt_record, of_hex({0xd4, 1, 5}))),
                  "something else than an array");
  EXPECT_CONTAINS((failure_to_decode<std::tuple<int>>(errc::corrupt_record, of_hex({0xc7, 0, 1, 0x90}))),
                  "bytes end where a value should begin");
}

TEST(Codec, NestingIsBoundedOnBothSides) {
  // Each level of the tree is a tuple that holds an array.
  codec_test::tree deepest{0, {}};
  for (std::size_t level = 2; level < shoal::max_nesting; level += 2) {
    codec_test::tree parent{0, {}};
    parent.children.push_back(std::move(deepest));
    deepest = std::move(parent);
  }
  EXPECT_EQ(round_trip(deepest), deepest);
  codec_test::tree too_deep{0, {}};
  too_deep.children.push_back(std::move(deepest));
  EXPECT_THROW(encoded(too_deep), std::length_error);

  bytes hostile;
  for (int level = 0; level < 100000; ++level) {
    hostile.insert(hostile.end(), {std::byte{0x92}, std::byte{0}, std::byte{0x91}});
  }
  EXPECT_CONTAINS(failure_to_decode<codec_test::tree>(errc::corrupt_record, hostile), "nested more than 256 deep");
}

TEST(Codec, SkippingNeedsNoStackHoweverDeepTheValue) {
  bytes deep(1000000, std::byte{0x91});
  deep.push_back(std::byte{0xc0});
  shoal::decoder in(deep);
  in.skip();
  in.finish();
}

TEST(Codec, APickleIsRefusedWithTheTypesThatCross) {
  shoal::record pickle;
  pickle.reset(shoal::encoding::pickle, 10);
  const std::string text = failure(errc::wrong_type, [&] { static_cast<void>(decode<int>(pickle)); });
  EXPECT_CONTAINS(text, "found a Python pickle of 10 bytes");
  EXPECT_CONTAINS(text, "None, bool, int");
}

// --- any bytes

using everything =
    std::tuple<std::vector<codec_test::mixed>, codec_test::tree,
               std::map<std::string, std::optional<std::variant<int, double, bytes>>>, std::array<std::int16_t, 2>,
               std::unordered_map<std::uint64_t, std::set<std::string>>, bool, float>;

class some_values {
 public:
  explicit some_values(std::uint32_t seed) : random_(seed) {}

  std::size_t up_to(std::size_t most) { return std::uniform_int_distribution<std::size_t>(0, most)(random_); }
  template <class T>
  T bits() {  // as often small as large
    return static_cast<T>(std::uniform_int_distribution<std::uint64_t>()(random_) >> up_to(63));
  }
  std::string text() { return std::string(up_to(40), static_cast<char>('a' + up_to(25))); }
  codec_test::tree tree(std::size_t depth) {
    codec_test::tree node{bits<int>(), {}};
    for (std::size_t n = depth == 0 ? 0 : up_to(3); n > 0; --n) {
      node.children.push_back(tree(depth - 1));
    }
    return node;
  }
  codec_test::mixed mixed() {
    codec_test::mixed value{up_to(1) == 1, text(), {}, {}, {}, 1, {'a', 'b', 'c', 'd'}, {bits<int>(), text()}};
    if (up_to(1) == 1) {
      value.maybe = bits<int>();
      value.either = text();
    }
    for (std::size_t n = up_to(4); n > 0; --n) {
      value.line.push_back({static_cast<double>(bits<int>()) / 7, 0});
      value.index[text()] = std::vector<int>(up_to(20), bits<int>());
    }
    return value;
  }
  everything all() {
    everything value;
    for (std::size_t n = up_to(3); n > 0; --n) {
      std::get<0>(value).push_back(mixed());
      std::get<2>(value)[text()] = bytes(up_to(300), std::byte{9});
      std::get<2>(value)[text()] = std::nullopt;
      std::get<4>(value)[bits<std::uint64_t>()] = {text(), text()};
    }
    std::get<1>(value) = tree(5);
    std::get<3>(value) = {bits<std::int16_t>(), bits<std::int16_t>()};
    std::get<6>(value) = static_cast<float>(bits<int>());
    return value;
  }
  std::mt19937& engine() { return random_; }

 private:
  std::mt19937 random_;
};

TEST(Codec, RandomValuesSurviveTheRoundTrip) {
  some_values some(1);
  for (int i = 0; i < 1000; ++i) {
    const everything value = some.all();
    const bytes input = encoded(value);
    ASSERT_EQ(decode<everything>(const_bytes(input)), value) << "round " << i;
    ASSERT_NO_THROW(as_seen_by_msgpack(input)) << "round " << i;
  }
}

// Whatever comes in, either a value or a shoal::error comes out. Meant to run under AddressSanitizer.
template <class T>
void must_not_crash(const bytes& input) {
  try {
    static_cast<void>(decode<T>(const_bytes(input)));
  } catch (const shoal::error&) {
  }
}

void must_not_crash_as_any_type(const bytes& input) {
  must_not_crash<everything>(input);
  must_not_crash<codec_test::tree>(input);
  must_not_crash<std::vector<std::string>>(input);
  must_not_crash<std::map<int, std::vector<double>>>(input);
  must_not_crash<codec_test::named_point>(input);
  try {
    shoal::decoder(input).skip();
  } catch (const shoal::error&) {
  }
}

TEST(Codec, RandomBytesNeverCrash) {
  some_values some(2);
  for (int i = 0; i < 100000; ++i) {
    bytes input(some.up_to(64));
    for (std::byte& b : input) {
      b = static_cast<std::byte>(some.engine()());
    }
    must_not_crash_as_any_type(input);
  }
}

TEST(Codec, DamagedValuesNeverCrash) {
  some_values some(3);
  for (int i = 0; i < 20000; ++i) {
    bytes input = encoded(some.all());
    for (std::size_t flips = 1 + some.up_to(3); flips > 0; --flips) {
      input[some.up_to(input.size() - 1)] ^= static_cast<std::byte>(1u << some.up_to(7));
    }
    if (some.up_to(3) == 0) {
      input.resize(some.up_to(input.size()));
    }
    must_not_crash_as_any_type(input);
  }
}

}  // namespace
