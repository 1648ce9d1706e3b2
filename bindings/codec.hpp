#pragma once

#include <nanobind/nanobind.h>

#include <cstddef>
#include <span>
#include <vector>

#include "identity_set.hpp"
#include "shoal/byte_queue.hpp"
#include "shoal/encoder.hpp"
#include "shoal/record.hpp"

namespace shoal::python {

/// One Python object as the bytes of a record.
///
/// Exact built-in types (None, bool, int, float, str, bytes, list, dict, tuple) and instances of ordinary classes
/// become MessagePack; everything else is pickled, and so is an object that MessagePack would not bring back as it was:
/// a container met twice, an integer past 64 bits, a lone surrogate, deep nesting. Nobody can tell which it was from
/// what arrives. Large buffers, such as a NumPy array's, are not copied: parts() refers to them where they are.
///
/// Meant to be reused, by one call at a time: encoding may run Python code, which may encode something itself, so each
/// call has one of its own (see lent.hpp). Needs the GIL, but for parts().
class encoded_object {
 public:
  /// Replaces what was encoded before.
  /// @return what has to live, as `object` has to, as long as parts() are used; possibly nothing. It also keeps the
  /// buffers from being resized.
  /// @throws nb::python_error  the object cannot be pickled.
  [[nodiscard]] nanobind::object encode(PyObject* object);

  [[nodiscard]] encoding tag() const noexcept { return tag_; }

  /// Valid until the next encode(). They may be read without the GIL: what an array holds may then change meanwhile, as
  /// in any call that reads it so, but nothing is freed or resized.
  [[nodiscard]] std::span<const const_bytes> parts() const noexcept { return parts_; }
  [[nodiscard]] std::size_t size() const noexcept;  ///< of all parts together

  /// Appends a copy of what parts() refer to.
  void append_to(std::vector<std::byte>& out) const;
  [[nodiscard]] std::vector<std::byte> copy() const;

 private:
  bool try_msgpack(PyObject* object);
  bool append(PyObject* object, std::size_t depth);
  bool append_items(PyObject* const* items, std::size_t count, std::size_t depth);
  bool append_instance(PyObject* object, std::size_t depth);
  bool append_attribute_name(PyObject* name);
  bool seen_before(PyObject* container, Py_ssize_t own_references = 1);
  [[nodiscard]] nanobind::object kept_in_place();
  [[nodiscard]] nanobind::object pickle(PyObject* object);

  encoder encoder_;
  identity_set seen_;                       // containers that something else refers to as well
  std::vector<nanobind::object> in_place_;  // whose bytes were not copied
  std::vector<std::byte> head_;             // of a pickle with buffers
  std::vector<const_bytes> parts_;
  encoding tag_ = encoding::msgpack;
};

/// The object that a record holds; raw records become `bytes`. Nothing refers to `bytes` afterwards; while it runs,
/// they must stay what they are, and it may run any Python code.
/// @throws nb::python_error  whatever unpickling raises. @throws shoal::error  errc::corrupt_record.
[[nodiscard]] nanobind::object decode_object(encoding tag, const_bytes bytes);

/// The same for a record that was borrowed, which it takes over in any case. Buffers that were sent out of band come
/// out as views of the shared memory, which goes back to the queue when the last of them dies, in whatever thread; if
/// there are none it goes back at once.
/// @param size  how many bytes of the record are the object's; others may follow
[[nodiscard]] nanobind::object decode_borrowed(shoal::borrowed_record&& record, std::size_t size);

}  // namespace shoal::python
