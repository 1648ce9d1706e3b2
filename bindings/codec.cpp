#include "codec.hpp"

#include "bind.hpp"
#include "pickler.hpp"

#include <Python.h>
#include <nanobind/stl/pair.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <string_view>
#include <utility>

#include "shoal/decoder.hpp"
#include "shoal/error.hpp"

namespace nb = nanobind;

namespace shoal::python {
namespace {

// Deeper objects are pickled, whose own limit is the interpreter's recursion limit.
constexpr std::size_t deepest = 64;

// From here on a bytes object is copied straight into shared memory instead of through the encoder's buffer.
constexpr Py_ssize_t large = 4096;

// Buffers that have grown past this are not kept for the next record.
constexpr std::size_t keep = 8 << 20;

/// Strings that were decoded lately, by their bytes: the keys of dicts come again and again, and need neither be made
/// nor hashed anew. Guarded by the GIL.
class recent_strings {
 public:
  static recent_strings& instance() {
    static auto* const only = new recent_strings();
    return *only;
  }

  nb::object get(std::string_view text) {
    if (text.size() > longest) {
      return make(text);
    }
    entry& place = entries_[std::hash<std::string_view>()(text) % entries_.size()];
    if (!place.string.is_valid() || place.text() != text) {
      place.string = make(text);
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

  struct entry {
    nb::object string;
    std::uint8_t size = 0;
    std::array<char, longest> bytes{};
    [[nodiscard]] std::string_view text() const { return {bytes.data(), size}; }
  };

  std::array<entry, 512> entries_;
};

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
        from.peek() == value_kind::string ? recent_strings::instance().get(from.string()) : decode_value(from);
    const nb::object value = decode_value(from);
    if (PyDict_SetItem(made.ptr(), key.ptr(), value.ptr()) != 0) {
      throw nb::python_error();
    }
  }
  from.end(entries);
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
    case value_kind::binary: {
      const const_bytes bytes = from.binary();
      return checked(PyBytes_FromStringAndSize(reinterpret_cast<const char*>(bytes.data()),
                                               static_cast<Py_ssize_t>(bytes.size())));
    }
    case value_kind::array:
    case value_kind::tuple:
      return decode_array(from);
    case value_kind::map:
      return decode_map(from);
    case value_kind::extension:
      break;
  }
  throw error(errc::corrupt_record,
              "the record holds a MessagePack extension that Python has no type for; the only one in use is type 1, a "
              "tuple.");
}

nb::object unpickle(const_bytes bytes) {
  // A copy, since loads may run any code, a get() on this thread included, and that reuses the record's memory.
  const nb::object data = checked(
      PyBytes_FromStringAndSize(reinterpret_cast<const char*>(bytes.data()), static_cast<Py_ssize_t>(bytes.size())));
  return pickler::instance().load(data);
}

}  // namespace

nb::object encoded_object::encode(PyObject* object) {
  part_count_ = 1;
  tag_ = encoding::msgpack;
  if (try_large_bytes(object)) {
    return {};
  }
  if (try_msgpack(object)) {
    parts_[0] = encoder_.bytes();
    return {};
  }
  return pickle(object);
}

std::vector<std::byte> encoded_object::copy() const {
  std::vector<std::byte> all;
  for (const const_bytes part : parts()) {
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

bool encoded_object::try_large_bytes(PyObject* object) {
  if (!PyBytes_CheckExact(object) || PyBytes_GET_SIZE(object) < large ||
      PyBytes_GET_SIZE(object) > std::numeric_limits<std::uint32_t>::max()) {
    return false;
  }
  // The header of "bin 32" in the MessagePack specification; the bytes themselves follow as they are.
  const auto size = static_cast<std::uint32_t>(PyBytes_GET_SIZE(object));
  bytes_header_ = {std::byte{0xc6}, std::byte(size >> 24), std::byte(size >> 16), std::byte(size >> 8),
                   std::byte(size)};
  parts_ = {const_bytes(bytes_header_),
            const_bytes(reinterpret_cast<const std::byte*>(PyBytes_AS_STRING(object)), size)};
  part_count_ = 2;
  return true;
}

bool encoded_object::try_msgpack(PyObject* object) {
  if (encoder_.bytes().size() > keep) {
    encoder_ = encoder();
  }
  encoder_.clear();
  seen_.clear();
  try {
    return append(object, 0);
  } catch (const std::length_error&) {
    return false;  // longer than MessagePack can say
  }
}

// Appends the object to the encoder; false: it has to be pickled. Runs no Python code, so that nobody changes what is
// read.
bool encoded_object::append(PyObject* object, std::size_t depth) {
  PyTypeObject* const type = Py_TYPE(object);
  if (type == &PyLong_Type) {
    int overflow = 0;
    const long long value = PyLong_AsLongLongAndOverflow(object, &overflow);
    if (overflow != 0) {
      return false;
    }
    encoder_.integer(value);
    return true;
  }
  if (type == &PyUnicode_Type) {
    Py_ssize_t size = 0;
    const char* const text = PyUnicode_AsUTF8AndSize(object, &size);
    if (text == nullptr) {
      PyErr_Clear();  // a lone surrogate, or no memory, which pickling will find again
      return false;
    }
    encoder_.string({text, static_cast<std::size_t>(size)});
    return true;
  }
  if (object == Py_None) {
    encoder_.nil();
    return true;
  }
  if (type == &PyBool_Type) {
    encoder_.boolean(object == Py_True);
    return true;
  }
  if (type == &PyFloat_Type) {
    encoder_.real(PyFloat_AS_DOUBLE(object));
    return true;
  }
  if (type == &PyBytes_Type) {
    encoder_.binary({reinterpret_cast<const std::byte*>(PyBytes_AS_STRING(object)),
                     static_cast<std::size_t>(PyBytes_GET_SIZE(object))});
    return true;
  }
  if (depth == deepest) {
    return false;
  }
  if (type == &PyTuple_Type) {
    const auto count = static_cast<std::size_t>(PyTuple_GET_SIZE(object));
    // The empty tuple is one object wherever it is met.
    if (count != 0 && seen_before(object)) {
      return false;
    }
    encoder_.begin_tuple(count);
    if (!append_items(reinterpret_cast<PyTupleObject*>(object)->ob_item, count, depth + 1)) {
      return false;
    }
    encoder_.end_tuple();
    return true;
  }
  if (type == &PyList_Type) {
    if (seen_before(object)) {
      return false;
    }
    const auto count = static_cast<std::size_t>(PyList_GET_SIZE(object));
    encoder_.begin_array(count);
    return append_items(reinterpret_cast<PyListObject*>(object)->ob_item, count, depth + 1);
  }
  if (type == &PyDict_Type) {
    if (seen_before(object)) {
      return false;
    }
    encoder_.begin_map(static_cast<std::size_t>(PyDict_GET_SIZE(object)));
    Py_ssize_t at = 0;
    PyObject* key = nullptr;
    PyObject* value = nullptr;
    while (PyDict_Next(object, &at, &key, &value) != 0) {
      if (!append(key, depth + 1) || !append(value, depth + 1)) {
        return false;
      }
    }
    return true;
  }
  return false;
}

bool encoded_object::append_items(PyObject* const* items, std::size_t count, std::size_t depth) {
  return std::all_of(items, items + count, [&](PyObject* item) { return append(item, depth); });
}

// Only a container that more than one thing refers to can be met twice.
bool encoded_object::seen_before(PyObject* container) {
  if (Py_REFCNT(container) == 1) {
    return false;
  }
  constexpr std::size_t few = 32;
  if (seen_.size() >= few) {
    return true;  // looking through more of them costs as much as pickling
  }
  if (std::find(seen_.begin(), seen_.end(), container) != seen_.end()) {
    return true;
  }
  seen_.push_back(container);
  return false;
}

nb::object encoded_object::pickle(PyObject* object) {
  nb::object pickled = pickler::instance().dump(object);
  tag_ = encoding::pickle;
  part_count_ = 1;
  parts_[0] = {reinterpret_cast<const std::byte*>(PyBytes_AS_STRING(pickled.ptr())),
               static_cast<std::size_t>(PyBytes_GET_SIZE(pickled.ptr()))};
  return pickled;
}

nb::object decode_object(encoding tag, const_bytes bytes) {
  switch (tag) {
    case encoding::msgpack: {
      decoder from(bytes);
      nb::object value = decode_value(from);
      from.finish();
      return value;
    }
    case encoding::pickle:
      return unpickle(bytes);
    case encoding::raw:
      return checked(PyBytes_FromStringAndSize(reinterpret_cast<const char*>(bytes.data()),
                                               static_cast<Py_ssize_t>(bytes.size())));
  }
  throw error(errc::corrupt_record,
              "the record has encoding " + std::to_string(static_cast<int>(tag)) +
                  ", known are 0 (raw), 1 (MessagePack) and 2 (pickle): something has written over "
                  "the shared memory.");
}

encoded_object& shared_encoder() {
  static encoded_object encoder;
  return encoder;
}

namespace {

record& spare_record() {
  static record spare;
  return spare;
}

}  // namespace

borrowed_record::borrowed_record() : record_(std::move(spare_record())) {}

borrowed_record::~borrowed_record() {
  if (record_.bytes().size() <= keep) {
    spare_record() = std::move(record_);
  }
}

void bind_codec(nb::module_& module) {
  (void)pickler::instance();  // imports, which must not happen for the first time in the middle of a put
  module.def(
      "encode",
      [](nb::handle object) {
        encoded_object encoded;
        const nb::object kept = encoded.encode(object.ptr());
        const std::vector<std::byte> bytes = encoded.copy();
        return nb::make_tuple(static_cast<int>(encoded.tag()),
                              nb::bytes(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
      },
      nb::arg("obj").none());
  module.def(
      "decode",
      [](int tag, const nb::bytes& data) {
        return decode_object(static_cast<encoding>(tag), {static_cast<const std::byte*>(data.data()), data.size()});
      },
      nb::arg("encoding"), nb::arg("data"));
}

}  // namespace shoal::python
