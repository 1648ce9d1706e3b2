#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "shoal/encoder.hpp"
#include "shoal/record.hpp"

namespace shoal {

/// What kind of value comes next in MessagePack bytes.
enum class value_kind { nil, boolean, integer, real, string, binary, array, map, tuple, extension };

/// Reads MessagePack values one after the other.
///
/// Any bytes may be given to it: what is truncated, nested too deep, or announces more than is there is an error, found
/// before memory is taken for it. After an error the decoder is of no further use.
///
/// @throws (all members that read)  shoal::error  errc::wrong_type: another kind of value is there, or a number outside
/// the
///     range asked for; errc::corrupt_record: the bytes are no MessagePack. The text names what was expected, found,
///     and where.
/// Lifetime: refers to the bytes, and so do the strings and binaries it returns.
/// Threads: none share one without a lock of their own.
class decoder {
 public:
  explicit decoder(const_bytes bytes) noexcept
      : begin_(bytes.data()), at_(begin_), end_(begin_ + bytes.size()), limit_(end_) {}

  [[nodiscard]] value_kind peek() const;

  void nil();
  bool boolean();
  std::int64_t integer();
  std::uint64_t unsigned_integer();
  double real();  ///< also an integer that a double holds exactly, because Python programs write 1 for 1.0
  std::string_view string();
  const_bytes binary();

  /// An array, a tuple, a map or another extension being read.
  class group {
   public:
    [[nodiscard]] std::size_t size() const noexcept { return size_; }  ///< its items; a map's entries; else its bytes
    [[nodiscard]] value_kind kind() const noexcept { return kind_; }
    [[nodiscard]] std::int8_t extension_type() const noexcept { return extension_type_; }  ///< of an extension

   private:
    friend class decoder;
    group(std::size_t size, value_kind kind, const std::byte* outer_limit, std::int8_t extension_type = 0) noexcept
        : size_(size), kind_(kind), extension_type_(extension_type), outer_limit_(outer_limit) {}

    std::size_t size_;
    value_kind kind_;
    std::int8_t extension_type_;
    const std::byte* outer_limit_;
  };

  group begin_array();      ///< an array or a tuple
  group begin_map();        ///< followed by key, value, key, value, ...
  group begin_extension();  ///< any but a tuple; what is read next is its payload

  /// Call after the last item of `items`, or the whole payload, was read.
  void end(const group& items);

  /// Passes over the next value, whatever it is.
  void skip();

  /// @throws shoal::error  errc::corrupt_record: something follows the values read so far.
  void finish() const;

  /// For codecs: throws errc::wrong_type with this text and the place reached.
  [[noreturn]] void reject(const std::string& expected_and_found) const;

 private:
  struct token;

  token read() const;
  [[noreturn]] void mismatch(const char* expected, const token& found) const;
  [[noreturn]] void corrupt(const std::string& what) const;
  static std::string describe(const token& found);
  std::string place() const;
  void descend();

  const std::byte* begin_;
  const std::byte* at_;
  const std::byte* end_;
  const std::byte* limit_;  // end of the innermost open extension, or end_
  std::size_t depth_ = 0;
};

}  // namespace shoal
