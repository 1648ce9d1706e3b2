#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "codec_support.hpp"
#include "shoal/decoder.hpp"
#include "shoal/encoder.hpp"

// What shoal::encoder and decoder offer beyond the types that shoal::codec covers.
namespace {

using namespace codec_test;

bytes joined(const shoal::encoder& from) {
  std::vector<const_bytes> pieces;
  from.pieces(pieces);
  bytes all;
  for (const const_bytes piece : pieces) {
    all.insert(all.end(), piece.begin(), piece.end());
  }
  return all;
}

const_bytes bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

TEST(Extension, ItsPayloadIsReadBackWhateverItsLength) {
  for (const std::size_t size : {0, 1, 200, 300, 70'000}) {
    shoal::encoder out;
    out.begin_array(2);
    out.begin_extension(42);
    out.string(std::string(size, 'x'));
    out.integer(7);
    out.end_extension();
    out.nil();
    shoal::decoder in(out.bytes());
    const auto items = in.begin_array();
    EXPECT_EQ(in.peek(), shoal::value_kind::extension);
    const auto extension = in.begin_extension();
    EXPECT_EQ(extension.extension_type(), 42);
    EXPECT_EQ(in.string(), std::string(size, 'x'));
    EXPECT_EQ(in.integer(), 7);
    in.end(extension);
    in.nil();
    in.end(items);
    in.finish();
  }
}

TEST(Extension, WhatIsReadDoesNotGoBeyondItsPayload) {
  shoal::encoder out;
  out.begin_extension(42);
  out.integer(1);
  out.integer(2);
  out.end_extension();
  out.integer(3);
  shoal::decoder in(out.bytes());
  const auto extension = in.begin_extension();
  EXPECT_EQ(in.integer(), 1);
  EXPECT_THROW(in.end(extension), shoal::error);
  EXPECT_EQ(in.integer(), 2);
  EXPECT_THROW((void)in.integer(), shoal::error);
}

TEST(Extension, AnInstanceOfAPythonClassIsCalledSo) {
  EXPECT_CONTAINS(failure_to_decode<int>(errc::wrong_type, of_hex({0xc7, 6, 2, 0x93, 0xa1, 'm', 0xa1, 'C', 0xc0})),
                  "an instance of a class of Python's, which only Python can rebuild");
}

TEST(Encoder, ValuesLeftInPlaceAreSentWhereTheyBelong) {
  const std::string text(300, 't');
  const std::string data(70'000, 'd');
  const auto encode = [&](shoal::encoder& out, auto string, auto binary) {
    out.begin_array(4);
    string(out);
    out.begin_tuple(3);  // its header grows only when all of it is there
    out.integer(1);
    binary(out);
    out.begin_tuple(2);
    string(out);
    binary(out);
    out.end_tuple();
    out.end_tuple();
    binary(out);
    out.nil();
  };
  shoal::encoder copied;
  encode(
      copied, [&](shoal::encoder& out) { out.string(text); }, [&](shoal::encoder& out) { out.binary(bytes_of(data)); });
  shoal::encoder in_place;
  encode(
      in_place, [&](shoal::encoder& out) { out.string_in_place(text); },
      [&](shoal::encoder& out) { out.binary_in_place(bytes_of(data)); });
  EXPECT_TRUE(joined(in_place) == joined(copied));
  EXPECT_LT(in_place.bytes().size(), 100u);
  in_place.clear();
  in_place.integer(5);
  EXPECT_TRUE(joined(in_place) == of_hex({5}));
}

TEST(Encoder, PiecesOfNothingLeftInPlaceAreTheBytes) {
  shoal::encoder out;
  out.string("text");
  std::vector<const_bytes> pieces;
  out.pieces(pieces);
  ASSERT_EQ(pieces.size(), 1u);
  EXPECT_EQ(pieces[0].data(), out.bytes().data());
  EXPECT_EQ(pieces[0].size(), out.bytes().size());
}

}  // namespace
