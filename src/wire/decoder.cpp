#include "shoal/decoder.hpp"

#include <bit>
#include <concepts>
#include <limits>
#include <string>

#include "shoal/error.hpp"
#include "wire/extensions.hpp"
#include "wire/msgpack.hpp"

namespace shoal {

// The library's own parsers are not used for reading: they visit or build the whole value before the first item can be
// looked at, allocate even for an integer, and believe an announced length. Pulling one token at a time needs none of
// that.

// One value's head. `body` is where what follows the head begins; `size` counts the bytes of a string, binary or
// extension, the items of an array, the entries of a map.
struct decoder::token {
  value_kind kind = value_kind::nil;
  std::int8_t extension = 0;
  bool negative = false;     // of an integer
  std::uint64_t number = 0;  // an integer's bits (two's complement), or a boolean
  double real = 0;
  std::size_t size = 0;
  const std::byte* body = nullptr;

  // Where the next value begins, if this one's items are read one by one; for all but containers, its own end.
  const std::byte* next() const {
    const bool has_payload = kind == value_kind::string || kind == value_kind::binary ||
                             kind == value_kind::extension || kind == value_kind::tuple;
    return has_payload ? body + size : body;
  }
};

namespace {

template <std::unsigned_integral Word>
Word load_big_endian(const std::byte* from) {
  Word word = 0;
  for (std::size_t i = 0; i < sizeof(Word); ++i) {
    word =
        static_cast<Word>(word << 7 << 1 | std::to_integer<Word>(from[i]));  // in two steps: Word may be one byte wide
  }
  return word;
}

bool fits_double(std::uint64_t magnitude) {
  return magnitude == 0 ||
         std::bit_width(magnitude) - std::countr_zero(magnitude) <= std::numeric_limits<double>::digits;
}

}  // namespace

decoder::token decoder::read() const {
  if (at_ == limit_) {
    corrupt(at_ == end_ ? "it ends where a value should begin"
                        : "a tuple's or another extension's bytes end where a value should begin");
  }
  token found;
  const auto head = std::to_integer<std::uint8_t>(*at_);
  found.body = at_ + 1;
  const auto room = [&] { return static_cast<std::size_t>(limit_ - found.body); };

  const auto take = [&]<std::unsigned_integral Word>(Word) {
    if (room() < sizeof(Word)) {
      corrupt("it is cut off inside a value's head");
    }
    const Word word = load_big_endian<Word>(found.body);
    found.body += sizeof(Word);
    return word;
  };
  const auto sized = [&](value_kind kind, std::size_t size) {
    found.kind = kind;
    found.size = size;
    // An item takes a byte at least, so what is not there in bytes cannot be there in items.
    const std::size_t least = kind == value_kind::map ? 2 * size : size;
    if (least > room()) {
      corrupt("a value announces " + std::to_string(size) +
              (kind == value_kind::array ? " items"
               : kind == value_kind::map ? " entries"
                                         : " bytes") +
              ", but " + std::to_string(room()) + " bytes are left");
    }
  };
  const auto positive = [&](std::uint64_t number) {
    found.kind = value_kind::integer;
    found.number = number;
  };
  const auto with_sign = [&](std::int64_t number) {
    found.kind = value_kind::integer;
    found.number = static_cast<std::uint64_t>(number);
    found.negative = number < 0;
  };
  const auto boolean = [&](bool value) {
    found.kind = value_kind::boolean;
    found.number = value ? 1 : 0;
  };
  const auto real = [&](double value) {
    found.kind = value_kind::real;
    found.real = value;
  };
  const auto extension = [&](std::size_t size) {
    found.extension = static_cast<std::int8_t>(take(std::uint8_t{}));
    sized(found.extension == wire::tuple_extension ? value_kind::tuple : value_kind::extension, size);
  };

  constexpr std::uint8_t u8 = 0;
  constexpr std::uint16_t u16 = 0;
  constexpr std::uint32_t u32 = 0;
  constexpr std::uint64_t u64 = 0;
  if (head <= 0x7f) {
    positive(head);
  } else if (head <= 0x8f) {
    sized(value_kind::map, head & 0x0fu);
  } else if (head <= 0x9f) {
    sized(value_kind::array, head & 0x0fu);
  } else if (head <= 0xbf) {
    sized(value_kind::string, head & 0x1fu);
  } else if (head >= 0xe0) {
    with_sign(static_cast<std::int8_t>(head));
  } else {
    switch (head) {
      case 0xc0:
        found.kind = value_kind::nil;
        break;
      case 0xc2:
        boolean(false);
        break;
      case 0xc3:
        boolean(true);
        break;
      case 0xc4:
        sized(value_kind::binary, take(u8));
        break;
      case 0xc5:
        sized(value_kind::binary, take(u16));
        break;
      case 0xc6:
        sized(value_kind::binary, take(u32));
        break;
      case 0xc7:
        extension(take(u8));
        break;
      case 0xc8:
        extension(take(u16));
        break;
      case 0xc9:
        extension(take(u32));
        break;
      case 0xca:
        real(std::bit_cast<float>(take(u32)));
        break;
      case 0xcb:
        real(std::bit_cast<double>(take(u64)));
        break;
      case 0xcc:
        positive(take(u8));
        break;
      case 0xcd:
        positive(take(u16));
        break;
      case 0xce:
        positive(take(u32));
        break;
      case 0xcf:
        positive(take(u64));
        break;
      case 0xd0:
        with_sign(static_cast<std::int8_t>(take(u8)));
        break;
      case 0xd1:
        with_sign(static_cast<std::int16_t>(take(u16)));
        break;
      case 0xd2:
        with_sign(static_cast<std::int32_t>(take(u32)));
        break;
      case 0xd3:
        with_sign(static_cast<std::int64_t>(take(u64)));
        break;
      case 0xd4:
        extension(1);
        break;
      case 0xd5:
        extension(2);
        break;
      case 0xd6:
        extension(4);
        break;
      case 0xd7:
        extension(8);
        break;
      case 0xd8:
        extension(16);
        break;
      case 0xd9:
        sized(value_kind::string, take(u8));
        break;
      case 0xda:
        sized(value_kind::string, take(u16));
        break;
      case 0xdb:
        sized(value_kind::string, take(u32));
        break;
      case 0xdc:
        sized(value_kind::array, take(u16));
        break;
      case 0xdd:
        sized(value_kind::array, take(u32));
        break;
      case 0xde:
        sized(value_kind::map, take(u16));
        break;
      case 0xdf:
        sized(value_kind::map, take(u32));
        break;
      default:
        corrupt("a value begins with the byte 0xc1, which means nothing");
    }
  }
  return found;
}

value_kind decoder::peek() const { return read().kind; }

void decoder::nil() {
  const token found = read();
  if (found.kind != value_kind::nil) {
    mismatch("nil", found);
  }
  at_ = found.body;
}

bool decoder::boolean() {
  const token found = read();
  if (found.kind != value_kind::boolean) {
    mismatch("a boolean", found);
  }
  at_ = found.body;
  return found.number != 0;
}

std::int64_t decoder::integer() {
  const token found = read();
  if (found.kind != value_kind::integer) {
    mismatch("an integer", found);
  }
  if (!found.negative && found.number > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
    mismatch("an integer of 64 bits with sign", found);
  }
  at_ = found.body;
  return static_cast<std::int64_t>(found.number);
}

std::uint64_t decoder::unsigned_integer() {
  const token found = read();
  if (found.kind != value_kind::integer) {
    mismatch("an integer", found);
  }
  if (found.negative) {
    mismatch("an integer that is not negative", found);
  }
  at_ = found.body;
  return found.number;
}

double decoder::real() {
  const token found = read();
  if (found.kind == value_kind::integer) {
    const std::uint64_t magnitude = found.negative ? 0 - found.number : found.number;
    if (!fits_double(magnitude)) {
      mismatch("a number that a double holds exactly", found);
    }
    at_ = found.body;
    return found.negative ? -static_cast<double>(magnitude) : static_cast<double>(magnitude);
  }
  if (found.kind != value_kind::real) {
    mismatch("a number", found);
  }
  at_ = found.body;
  return found.real;
}

std::string_view decoder::string() {
  const token found = read();
  if (found.kind != value_kind::string) {
    mismatch("a string", found);
  }
  at_ = found.next();
  return {reinterpret_cast<const char*>(found.body), found.size};
}

const_bytes decoder::binary() {
  const token found = read();
  if (found.kind != value_kind::binary) {
    mismatch("binary data", found);
  }
  at_ = found.next();
  return {found.body, found.size};
}

void decoder::descend() {
  if (depth_ == max_nesting) {
    corrupt("its containers are nested more than " + std::to_string(max_nesting) + " deep");
  }
  ++depth_;
}

decoder::group decoder::begin_array() {
  const token found = read();
  const std::byte* const outer_limit = limit_;
  if (found.kind == value_kind::array) {
    descend();
    at_ = found.body;
    return {found.size, value_kind::array, outer_limit};
  }
  if (found.kind != value_kind::tuple) {
    mismatch("an array or a tuple", found);
  }
  descend();
  limit_ = found.next();
  at_ = found.body;
  const token items = read();
  if (items.kind != value_kind::array) {
    corrupt("a tuple holds something else than an array");
  }
  at_ = items.body;
  return {items.size, value_kind::tuple, outer_limit};
}

decoder::group decoder::begin_map() {
  const token found = read();
  if (found.kind != value_kind::map) {
    mismatch("a map", found);
  }
  descend();
  at_ = found.body;
  return {found.size, value_kind::map, limit_};
}

decoder::group decoder::begin_extension() {
  const token found = read();
  if (found.kind != value_kind::extension) {
    mismatch("an extension", found);
  }
  descend();
  const std::byte* const outer_limit = limit_;
  limit_ = found.next();
  at_ = found.body;
  return {found.size, value_kind::extension, outer_limit, found.extension};
}

void decoder::end(const group& items) {
  const bool is_extension = items.kind_ == value_kind::tuple || items.kind_ == value_kind::extension;
  if (is_extension && at_ != limit_) {
    corrupt(std::string(items.kind_ == value_kind::tuple ? "a tuple" : "an extension") + " has " +
            std::to_string(limit_ - at_) + " bytes behind its last item");
  }
  limit_ = items.outer_limit_;
  --depth_;
}

void decoder::skip() {
  // A count instead of recursion: how deep the bytes are nested then does not matter.
  for (std::size_t left = 1; left > 0; --left) {
    const token found = read();
    at_ = found.next();
    if (found.kind == value_kind::array) {
      left += found.size;
    } else if (found.kind == value_kind::map) {
      left += 2 * found.size;
    }
  }
}

void decoder::finish() const {
  if (at_ != end_) {
    corrupt("the value ends there, but " + std::to_string(end_ - at_) + " bytes follow");
  }
}

void decoder::mismatch(const char* expected, const token& found) const {
  throw error(errc::wrong_type, std::string("expected ") + expected + ", found " + describe(found) + place());
}

void decoder::corrupt(const std::string& what) const {
  throw error(errc::corrupt_record, "not a whole MessagePack value: " + what + place());
}

void decoder::reject(const std::string& expected_and_found) const {
  throw error(errc::wrong_type, expected_and_found + place());
}

std::string decoder::describe(const token& found) {
  const std::string size = std::to_string(found.size);
  switch (found.kind) {
    case value_kind::nil:
      return "nil";
    case value_kind::boolean:
      return found.number != 0 ? "the boolean true" : "the boolean false";
    case value_kind::integer:
      return "the integer " +
             (found.negative ? std::to_string(static_cast<std::int64_t>(found.number)) : std::to_string(found.number));
    case value_kind::real:
      return "the floating-point number " + std::to_string(found.real);
    case value_kind::string:
      return "a string of " + size + " bytes";
    case value_kind::binary:
      return "binary data of " + size + " bytes";
    case value_kind::array:
      return "an array of " + size;
    case value_kind::map:
      return "a map of " + size;
    case value_kind::tuple:
      return "a tuple";
    case value_kind::extension:
      if (found.extension == wire::instance_extension) {
        return "an instance of a class of Python's, which only Python can rebuild (a dict or a tuple would be read)";
      }
      return "extension type " + std::to_string(found.extension) + " of " + size + " bytes, which is unknown here";
  }
  return "an unknown kind of value";
}

std::string decoder::place() const {
  return " (at byte " + std::to_string(at_ - begin_) + " of " + std::to_string(end_ - begin_) + ")";
}

}  // namespace shoal
