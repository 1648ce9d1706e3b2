#pragma once

#include <nanobind/nanobind.h>

#include <cstddef>
#include <memory>
#include <new>
#include <span>

#include "shoal/byte_queue.hpp"
#include "shoal/record.hpp"

namespace shoal::python {

/// The bytes of a received record, as a Python object that offers them to be viewed and written to. They are given back
/// when it and its last view are gone, in whatever thread that is.
class received_buffer {
 public:
  /// The record's own memory, or a copy if the record is one.
  [[nodiscard]] static nanobind::object take(shoal::borrowed_record&& record);
  [[nodiscard]] static nanobind::object copy(const_bytes bytes);

  explicit received_buffer(shoal::borrowed_record&& record);
  explicit received_buffer(const_bytes bytes);

  [[nodiscard]] std::span<std::byte> bytes() const noexcept { return bytes_; }

 private:
  struct aligned_delete {
    void operator()(std::byte* memory) const noexcept;
  };

  shoal::borrowed_record record_;
  std::unique_ptr<std::byte, aligned_delete> copy_;
  std::span<std::byte> bytes_;
};

/// Buffers inside a record begin at multiples of this, counted from where the record's chunk begins.
inline constexpr std::size_t buffer_alignment = 64;

/// Where the bytes of a large record begin in its chunk, which begins at a page: behind the queue's own eight bytes.
/// Were it otherwise one day, arrays would arrive at odd addresses, which costs speed and nothing else.
inline constexpr std::size_t record_offset = 8;

}  // namespace shoal::python
