#include "shoal/encoder.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <concepts>
#include <limits>
#include <stdexcept>
#include <string>

#include "wire/msgpack.hpp"

namespace shoal {
namespace {

// What msgpack::packer asks of a stream.
struct byte_sink {
  std::vector<std::byte>& buffer;

  void write(const char* data, std::size_t size) {
    const auto* first = reinterpret_cast<const std::byte*>(data);
    buffer.insert(buffer.end(), first, first + size);
  }
};

class packer {
 public:
  explicit packer(std::vector<std::byte>& buffer) : sink_{buffer}, packer_(sink_) {}
  msgpack::packer<byte_sink>* operator->() { return &packer_; }

 private:
  byte_sink sink_;
  msgpack::packer<byte_sink> packer_;
};

std::uint32_t checked_length(std::size_t length, const char* what) {
  if (length > std::numeric_limits<std::uint32_t>::max()) {
    throw std::length_error("shoal: " + std::to_string(length) + " " + what +
                            " in one value, of which MessagePack can hold 4294967295 at most; send it in pieces");
  }
  return static_cast<std::uint32_t>(length);
}

template <std::unsigned_integral Word>
void append_big_endian(std::vector<std::byte>& buffer, std::byte head, Word word) {
  std::array<std::byte, 1 + sizeof(Word)> bytes;
  bytes[0] = head;
  for (std::size_t i = sizeof(Word); i > 0; --i, word >>= 8) {
    bytes[i] = static_cast<std::byte>(word & 0xff);
  }
  buffer.insert(buffer.end(), bytes.begin(), bytes.end());
}

// Until its length is known, a tuple's header is the short form: wire::ext8, a length of one byte, the type.
constexpr std::size_t short_header = 3;

}  // namespace

void encoder::nil() { packer(buffer_)->pack_nil(); }

void encoder::boolean(bool value) {
  if (value) {
    packer(buffer_)->pack_true();
  } else {
    packer(buffer_)->pack_false();
  }
}

void encoder::integer(std::int64_t value) { packer(buffer_)->pack_int64(value); }

void encoder::unsigned_integer(std::uint64_t value) { packer(buffer_)->pack_uint64(value); }

// Not packer::pack_float and pack_double: they turn whole numbers into integers, so that 1.0 would reach Python as the
// int 1 and -0.0 lose its sign.
void encoder::real(float value) { append_big_endian(buffer_, wire::float32, std::bit_cast<std::uint32_t>(value)); }

void encoder::real(double value) { append_big_endian(buffer_, wire::float64, std::bit_cast<std::uint64_t>(value)); }

void encoder::string(std::string_view value) {
  packer out(buffer_);
  out->pack_str(checked_length(value.size(), "bytes of text"));
  out->pack_str_body(value.data(), static_cast<std::uint32_t>(value.size()));
}

void encoder::binary(const_bytes value) {
  packer out(buffer_);
  out->pack_bin(checked_length(value.size(), "bytes"));
  out->pack_bin_body(reinterpret_cast<const char*>(value.data()), static_cast<std::uint32_t>(value.size()));
}

void encoder::begin_array(std::size_t items) { packer(buffer_)->pack_array(checked_length(items, "array items")); }

void encoder::begin_map(std::size_t entries) { packer(buffer_)->pack_map(checked_length(entries, "map entries")); }

void encoder::begin_tuple(std::size_t items) {
  open_tuples_.push_back(buffer_.size());
  buffer_.insert(buffer_.end(), {wire::ext8, std::byte{0}, std::byte{wire::tuple_extension}});
  begin_array(items);
}

void encoder::end_tuple() {
  const std::size_t header = open_tuples_.back();
  open_tuples_.pop_back();
  const std::size_t length = buffer_.size() - header - short_header;
  if (length <= 0xff) {
    buffer_[header + 1] = static_cast<std::byte>(length);
    return;
  }
  // Rare and long, so that moving the payload is cheaper than a wide header on every small tuple.
  checked_length(length, "bytes of a tuple");
  std::vector<std::byte> wide;
  packer { wide } -> pack_ext(length, wire::tuple_extension);
  const auto position = buffer_.begin() + static_cast<std::ptrdiff_t>(header);
  const auto extra = static_cast<std::ptrdiff_t>(wide.size() - short_header);
  buffer_.insert(position, wide.begin(), wide.begin() + extra);
  std::copy(wide.begin() + extra, wide.end(), buffer_.begin() + static_cast<std::ptrdiff_t>(header) + extra);
}

void encoder::clear() noexcept {
  buffer_.clear();
  open_tuples_.clear();
  depth_ = 0;
}

namespace detail {

nesting::nesting(encoder& out) : out_(out) {
  if (out_.depth_ >= max_nesting) {
    throw std::length_error("shoal: a value nested more than " + std::to_string(max_nesting) +
                            " containers deep cannot be encoded; send its parts, or refer to them by number");
  }
  ++out_.depth_;
}

}  // namespace detail
}  // namespace shoal
