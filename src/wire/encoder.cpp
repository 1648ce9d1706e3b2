#include "shoal/encoder.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <concepts>
#include <limits>
#include <stdexcept>
#include <string>

#include "wire/extensions.hpp"
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

// Until its length is known, an extension's header is the short form: wire::ext8, a length of one byte, the type.
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

void encoder::string_in_place(std::string_view value) {
  packer(buffer_)->pack_str(checked_length(value.size(), "bytes of text"));
  leave_in_place({reinterpret_cast<const std::byte*>(value.data()), value.size()});
}

void encoder::binary_in_place(const_bytes value) {
  packer(buffer_)->pack_bin(checked_length(value.size(), "bytes"));
  leave_in_place(value);
}

void encoder::leave_in_place(const_bytes value) {
  in_place_.push_back({buffer_.size(), value});
  in_place_bytes_ += value.size();
}

void encoder::begin_array(std::size_t items) { packer(buffer_)->pack_array(checked_length(items, "array items")); }

void encoder::begin_map(std::size_t entries) { packer(buffer_)->pack_map(checked_length(entries, "map entries")); }

void encoder::begin_tuple(std::size_t items) {
  begin_extension(wire::tuple_extension);
  begin_array(items);
}

void encoder::begin_extension(std::int8_t type) {
  open_.push_back({buffer_.size(), in_place_bytes_});
  buffer_.insert(buffer_.end(), {wire::ext8, std::byte{0}, static_cast<std::byte>(type)});
}

void encoder::end_extension() {
  const open_extension ended = open_.back();
  open_.pop_back();
  const std::size_t payload = ended.header + short_header;
  const std::size_t length = buffer_.size() - payload + in_place_bytes_ - ended.in_place;
  if (length <= 0xff) {
    buffer_[ended.header + 1] = static_cast<std::byte>(length);
    return;
  }
  // Rare and long, so that moving the payload is cheaper than a wide header on every small extension.
  const std::uint32_t size = checked_length(length, "bytes of a tuple or another extension");
  const auto type = static_cast<std::int8_t>(buffer_[payload - 1]);
  std::vector<std::byte> wide;
  packer { wide } -> pack_ext(size, type);
  const auto position = buffer_.begin() + static_cast<std::ptrdiff_t>(ended.header);
  const std::size_t extra = wide.size() - short_header;
  const auto split = wide.begin() + static_cast<std::ptrdiff_t>(extra);
  buffer_.insert(position, wide.begin(), split);
  std::copy(split, wide.end(), buffer_.begin() + static_cast<std::ptrdiff_t>(ended.header + extra));
  for (auto value = in_place_.rbegin(); value != in_place_.rend() && value->position >= payload; ++value) {
    value->position += extra;
  }
}

void encoder::pieces(std::vector<const_bytes>& out) const {
  const const_bytes all = buffer_;
  std::size_t sent = 0;
  for (const value_in_place& value : in_place_) {
    out.push_back(all.subspan(sent, value.position - sent));
    out.push_back(value.value);
    sent = value.position;
  }
  if (sent < all.size()) {
    out.push_back(all.subspan(sent));
  }
}

void encoder::clear() noexcept {
  buffer_.clear();
  open_.clear();
  in_place_.clear();
  in_place_bytes_ = 0;
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
