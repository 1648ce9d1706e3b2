#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <utility>

namespace shoal {

/// How the bytes of a record are to be read.
enum class encoding : std::uint8_t {
  raw = 0,             ///< the object representation of a trivially copyable C++ type
  msgpack = 1,         ///< one MessagePack value, readable from every language
  pickle = 2,          ///< a Python pickle, protocol 5
  pickle_buffers = 3,  ///< a Python pickle, protocol 5, and behind it the large buffers that it refers to
};

using const_bytes = std::span<const std::byte>;

/// A received record: its encoding and its bytes, in memory of this process.
///
/// Meant to be reused: a buffer that has grown is kept, so that receiving in a loop allocates only for a longer record.
/// Threads: none share one without a lock of their own.
class record {
 public:
  record() noexcept = default;
  record(record&& other) noexcept { *this = std::move(other); }
  record& operator=(record&& other) noexcept {
    data_ = std::move(other.data_);
    size_ = std::exchange(other.size_, 0);
    capacity_ = std::exchange(other.capacity_, 0);
    tag_ = other.tag_;
    return *this;
  }
  record(const record&) = delete;
  record& operator=(const record&) = delete;
  ~record() = default;

  [[nodiscard]] encoding tag() const noexcept { return tag_; }
  [[nodiscard]] const_bytes bytes() const noexcept { return {data_.get(), size_}; }

  /// Makes room for `size` bytes, whose contents are then undefined, and returns where they go.
  /// @throws std::bad_alloc  the record is unchanged.
  std::byte* reset(encoding tag, std::size_t size) {
    if (size > capacity_ || data_ == nullptr) {
      const std::size_t grown = size < 128 ? 128 : size;
      data_ = std::make_unique_for_overwrite<std::byte[]>(grown);
      capacity_ = grown;
    }
    tag_ = tag;
    size_ = size;
    return data_.get();
  }

 private:
  std::unique_ptr<std::byte[]> data_;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
  encoding tag_ = encoding::raw;
};

}  // namespace shoal
