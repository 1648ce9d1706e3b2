#include "shoal/codec.hpp"

#include <string>

#include "shoal/error.hpp"

namespace shoal::detail {

void throw_no_message_pack(encoding tag, std::size_t found_size, std::string_view wanted_type) {
  const std::string size = std::to_string(found_size) + " bytes";
  const std::string wanted = "expected MessagePack holding a " + std::string(wanted_type) + ", found ";
  switch (tag) {
    case encoding::pickle:
    case encoding::pickle_buffers:
      throw error(
          errc::wrong_type,
          wanted + "a Python pickle of " + size +
              ": only None, bool, int of 64 bits, float, str, bytes, and lists, tuples and dicts of those cross from "
              "Python to C++; send these instead of the object");
    case encoding::raw:
      throw error(errc::wrong_type, wanted + "a raw C++ object of " + size +
                                        ": the sender's queue is of a trivially copyable class; declare both as "
                                        "shoal::queue<T, shoal::portable>");
    case encoding::msgpack:
      break;
  }
  throw error(errc::corrupt_record,
              wanted + size + " in the unknown encoding " + std::to_string(static_cast<unsigned>(tag)));
}

void expect_items(const decoder& in, std::size_t expected, std::size_t found, std::string_view type) {
  if (expected != found) {
    in.reject("expected the " + std::to_string(expected) + " items of a " + std::string(type) + ", found " +
              std::to_string(found));
  }
}

namespace {

template <class Number>
[[noreturn]] void reject_number(const decoder& in, std::string_view type, Number found) {
  in.reject("expected a number in the range of " + std::string(type) + ", found " + std::to_string(found));
}

}  // namespace

void reject_range(const decoder& in, std::string_view type, std::int64_t found) { reject_number(in, type, found); }
void reject_range(const decoder& in, std::string_view type, std::uint64_t found) { reject_number(in, type, found); }
void reject_range(const decoder& in, std::string_view type, double found) { reject_number(in, type, found); }

void reject_alternative(const decoder& in, std::string_view type, std::size_t alternatives, std::uint64_t found) {
  in.reject("expected the index of one of the " + std::to_string(alternatives) + " alternatives of " +
            std::string(type) + ", found " + std::to_string(found));
}

void reject_field(const decoder& in, std::string_view type, const char* trouble, std::string_view field) {
  in.reject(std::string(type) + " " + trouble + " '" + std::string(field.substr(0, 64)) + "'");
}

}  // namespace shoal::detail
