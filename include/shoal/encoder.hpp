#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "shoal/record.hpp"

namespace shoal {

/// How deep containers may lie inside one another in an encoded value; deeper ones are refused by both ends.
inline constexpr std::size_t max_nesting = 256;

namespace detail {
class nesting;
}

/// Appends MessagePack values to a buffer of its own.
///
/// Meant to be reused: `clear()` keeps the memory. Most code calls `shoal::encode` instead of these members; a
/// specialisation of `shoal::codec` calls them. A container is announced with its number of items, and exactly that
/// many must follow.
///
/// Threads: none share one without a lock of their own.
class encoder {
 public:
  void nil();
  void boolean(bool value);
  void integer(std::int64_t value);
  void unsigned_integer(std::uint64_t value);
  void real(float value);
  void real(double value);

  /// Text, which by the format's definition is UTF-8. Not verified here: other bytes come back to C++ as they were, and
  /// are an error to a reader that wants text. Bytes that are not text are `binary`.
  /// @throws std::length_error  4 GiB or longer, which the format cannot say. So do all members below.
  void string(std::string_view value);
  void binary(const_bytes value);

  /// The same without a copy of the value: it is one of `pieces()`, and has to stay where it is as long as they are
  /// used.
  void string_in_place(std::string_view value);
  void binary_in_place(const_bytes value);

  void begin_array(std::size_t items);
  void begin_map(std::size_t entries);  ///< followed by key, value, key, value, ...

  /// An array that Python reads back as a tuple; ended by `end_tuple`.
  void begin_tuple(std::size_t items);
  void end_tuple() { end_extension(); }

  /// A value of an extension type, whose payload is what is appended up to `end_extension`. MessagePack itself uses the
  /// types below 0, Shoal 1 and 2; see docs/design/wire.md.
  void begin_extension(std::int8_t type);
  void end_extension();

  /// What was encoded so far, if nothing was left in place. Valid until the next call of a member that is not const.
  [[nodiscard]] const_bytes bytes() const noexcept { return buffer_; }

  /// Appends to `out` what was encoded so far: pieces to be sent one behind the other. Valid as `bytes()`, and after a
  /// move of the encoder.
  void pieces(std::vector<const_bytes>& out) const;

  void clear() noexcept;

 private:
  friend class detail::nesting;

  struct open_extension {
    std::size_t header;    // where it begins in buffer_
    std::size_t in_place;  // in_place_bytes_ before it
  };
  struct value_in_place {
    std::size_t position;  // in buffer_: what is before it is sent first
    const_bytes value;
  };

  void leave_in_place(const_bytes value);

  std::vector<std::byte> buffer_;
  std::vector<open_extension> open_;  // not yet ended
  std::vector<value_in_place> in_place_;
  std::size_t in_place_bytes_ = 0;
  std::size_t depth_ = 0;
};

namespace detail {

/// One level deeper for as long as it lives.
class nesting {
 public:
  /// @throws std::length_error  deeper than `max_nesting`.
  explicit nesting(encoder& out);
  ~nesting() { --out_.depth_; }
  nesting(const nesting&) = delete;
  nesting& operator=(const nesting&) = delete;

 private:
  encoder& out_;
};

}  // namespace detail
}  // namespace shoal
