#pragma once

#include <nanobind/nanobind.h>

#include <array>
#include <span>
#include <vector>

#include "shoal/encoder.hpp"
#include "shoal/record.hpp"

namespace shoal::python {

/// One Python object as the bytes of a record.
///
/// Exact built-in types (None, bool, int, float, str, bytes, list, dict, tuple) become MessagePack; everything else is
/// pickled, and so is an object that MessagePack would not bring back as it was: a container met twice, an integer past
/// 64 bits, a lone surrogate, deep nesting. Nobody can tell which it was from what arrives.
///
/// Meant to be reused. Needs the GIL.
class encoded_object {
 public:
  /// @return what has to live, as `object` has to, as long as parts() is used.
  /// @throws nb::python_error  the object cannot be pickled.
  [[nodiscard]] nanobind::object encode(PyObject* object);

  [[nodiscard]] encoding tag() const noexcept { return tag_; }
  [[nodiscard]] std::span<const const_bytes> parts() const noexcept { return {parts_.data(), part_count_}; }

  /// Copies what parts() refers to, so that it outlives other uses of the encoder. For calls that are about to block.
  [[nodiscard]] std::vector<std::byte> copy() const;

 private:
  bool try_large_bytes(PyObject* object);
  bool try_msgpack(PyObject* object);
  bool append(PyObject* object, std::size_t depth);
  bool append_items(PyObject* const* items, std::size_t count, std::size_t depth);
  bool seen_before(PyObject* container);
  nanobind::object pickle(PyObject* object);

  encoder encoder_;
  std::vector<PyObject*> seen_;  // containers that something else refers to as well
  std::array<std::byte, 5> bytes_header_{};
  std::array<const_bytes, 2> parts_{};
  std::size_t part_count_ = 0;
  encoding tag_ = encoding::msgpack;
};

/// The object that a record holds; raw records become `bytes`.
/// @throws nb::python_error  whatever unpickling raises. @throws shoal::error  errc::corrupt_record.
[[nodiscard]] nanobind::object decode_object(encoding tag, const_bytes bytes);

/// The encoder of all calls. Guarded by the GIL: whoever releases it before the parts are used must copy them first.
[[nodiscard]] encoded_object& shared_encoder();

/// A record lent to one receiving call and then kept for the next one. Lent, since the call may release the GIL, and
/// decoding may run Python code that receives something itself. Made and destroyed with the GIL held.
class borrowed_record {
 public:
  borrowed_record();
  borrowed_record(const borrowed_record&) = delete;
  borrowed_record& operator=(const borrowed_record&) = delete;
  ~borrowed_record();

  record& operator*() noexcept { return record_; }
  record* operator->() noexcept { return &record_; }

 private:
  record record_;
};

}  // namespace shoal::python
