#include <Python.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "codec.hpp"
#include "instances.hpp"
#include "pickle_buffers.hpp"
#include "pickler.hpp"
#include "received_buffer.hpp"
#include "shoal/decoder.hpp"
#include "shoal/error.hpp"
#include "wire/extensions.hpp"

namespace nb = nanobind;

namespace shoal::python {
namespace {

/// Strings that were decoded lately, by their bytes: the keys of dicts come again and again, and need neither be made
/// nor hashed anew. Guarded by the GIL.
class recent_strings {
 public:
  static recent_strings& dict_keys() {
    static auto* const only = new recent_strings(false);  // outlives the interpreter's own teardown
    return *only;
  }
  /// Interned, as pickle does.
  static recent_strings& attribute_names() {
    static auto* const only = new recent_strings(true);
    return *only;
  }

  nb::object get(std::string_view text) {
    if (text.size() > longest) {
      return make_own(text);
    }
    entry& place = entries_[std::hash<std::string_view>()(text) % entries_.size()];
    if (!place.string.is_valid() || place.text() != text) {
      place.string = make_own(text);
      place.size = static_cast<std::uint8_t>(text.size());
      std::copy(text.begin(), text.end(), place.bytes.begin());
    }
    return place.string;
  }

  static nb::object make(std::string_view text) {
    return checked(PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), nullptr));
  }

 private:
  static constexpr std::size_t longest = 31;

  explicit recent_strings(bool interned) : interned_(interned) {}

  [[nodiscard]] nb::object make_own(std::string_view text) const {
    PyObject* made = make(text).release().ptr();
    if (interned_) {
      PyUnicode_InternInPlace(&made);
    }
    return nb::steal(made);
  }

  struct entry {
    nb::object string;
    std::uint8_t size = 0;
    std::array<char, longest> bytes{};
    [[nodiscard]] std::string_view text() const { return {bytes.data(), size}; }
  };

  const bool interned_;
  std::array<entry, 512> entries_;
};

nb::object make_bytes(const_bytes bytes) {
  return checked(
      PyBytes_FromStringAndSize(reinterpret_cast<const char*>(bytes.data()), static_cast<Py_ssize_t>(bytes.size())));
}

nb::object decode_value(decoder& from);

nb::object decode_integer(decoder& from) {
  decoder ahead = from;
  try {
    const std::int64_t value = from.integer();
    return nb::steal(PyLong_FromLongLong(value));
  } catch (const shoal::error&) {
    from = ahead;  // 2^63 and above, which only other languages send
    return nb::steal(PyLong_FromUnsignedLongLong(from.unsigned_integer()));
  }
}

nb::object decode_array(decoder& from) {
  const decoder::group items = from.begin_array();
  const auto count = static_cast<Py_ssize_t>(items.size());
  nb::object made;
  if (items.kind() == value_kind::tuple) {
    made = checked(PyTuple_New(count));
    for (Py_ssize_t i = 0; i < count; ++i) {
      PyTuple_SET_ITEM(made.ptr(), i, decode_value(from).release().ptr());
    }
  } else {
    made = checked(PyList_New(count));
    for (Py_ssize_t i = 0; i < count; ++i) {
      PyList_SET_ITEM(made.ptr(), i, decode_value(from).release().ptr());
    }
  }
  from.end(items);
  return made;
}

nb::object decode_map(decoder& from) {
  const decoder::group entries = from.begin_map();
  nb::object made = checked(PyDict_New());
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const nb::object key =
        from.peek() == value_kind::string ? recent_strings::dict_keys().get(from.string()) : decode_value(from);
    const nb::object value = decode_value(from);
    if (PyDict_SetItem(made.ptr(), key.ptr(), value.ptr()) != 0) {
      throw nb::python_error();
    }
  }
  from.end(entries);
  return made;
}

// A class that is an ordinary one here as well is done without pickle's help.
nb::object decode_ordinary_instance(decoder& from, PyTypeObject* type) {
  static PyObject* const no_arguments = PyTuple_New(0);
  nb::object made = checked(type->tp_new(type, no_arguments, nullptr));
  if (from.peek() == value_kind::nil) {
    from.nil();
    return made;
  }
  const nb::object attributes = checked(PyObject_GenericGetDict(made.ptr(), nullptr));
  const decoder::group entries = from.begin_map();
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const nb::object name = recent_strings::attribute_names().get(from.string());
    const nb::object value = decode_value(from);
    if (PyDict_SetItem(attributes.ptr(), name.ptr(), value.ptr()) != 0) {
      throw nb::python_error();
    }
  }
  from.end(entries);
  return made;
}

nb::object decode_instance(decoder& from) {
  const decoder::group extension = from.begin_extension();
  if (extension.extension_type() != wire::instance_extension) {
    from.reject("expected a tuple or an instance of a class, found MessagePack extension type " +
                std::to_string(extension.extension_type()));
  }
  const decoder::group fields = from.begin_array();
  if (fields.size() != 3) {
    from.reject("expected the 3 items of an instance of a class, found " + std::to_string(fields.size()));
  }
  const std::string_view module = from.string();
  const std::string_view qualname = from.string();
  const class_name& name = received_class_name(module, qualname);
  nb::object made;
  PyTypeObject* const type = name.find();
  const nb::object alive = nb::borrow(reinterpret_cast<PyObject*>(type));  // whatever the code that runs below does
  if (type != nullptr && is_ordinary(type)) {
    name.audit_find();
    made = decode_ordinary_instance(from, type);
  } else {
    made = rebuild_with_pickle(module, qualname, decode_value(from));
  }
  from.end(fields);
  from.end(extension);
  return made;
}

nb::object decode_value(decoder& from) {
  switch (from.peek()) {
    case value_kind::nil:
      from.nil();
      return nb::none();
    case value_kind::boolean:
      return nb::bool_(from.boolean());
    case value_kind::integer:
      return decode_integer(from);
    case value_kind::real:
      return checked(PyFloat_FromDouble(from.real()));
    case value_kind::string:
      return recent_strings::make(from.string());
    case value_kind::binary:
      return make_bytes(from.binary());
    case value_kind::array:
    case value_kind::tuple:
      return decode_array(from);
    case value_kind::map:
      return decode_map(from);
    case value_kind::extension:
      return decode_instance(from);
  }
  throw error(errc::corrupt_record, "the record holds a kind of value that is unknown here");
}

}  // namespace

nb::object decode_object(encoding tag, const_bytes bytes) {
  switch (tag) {
    case encoding::msgpack: {
      decoder from(bytes);
      nb::object value = decode_value(from);
      from.finish();
      return value;
    }
    case encoding::pickle:
      return unpickle(make_bytes(bytes));
    case encoding::pickle_buffers:
      return unpack(received_buffer::copy(bytes));
    case encoding::raw:
      return make_bytes(bytes);
  }
  throw error(errc::corrupt_record, "the record has encoding " + std::to_string(static_cast<int>(tag)) +
                                        ", known are 0 (raw), 1 (MessagePack), 2 (pickle) and 3 (pickle with buffers): "
                                        "something has written over the shared memory.");
}

nb::object decode_borrowed(shoal::borrowed_record&& record, std::size_t size) {
  shoal::borrowed_record mine = std::move(record);
  switch (mine.tag()) {
    case encoding::pickle_buffers:
      return unpack(received_buffer::take(std::move(mine)));
    case encoding::pickle:
      return unpickle(received_buffer::take(std::move(mine)));
    default:
      return decode_object(mine.tag(), mine.bytes().first(size));
  }
}

}  // namespace shoal::python
