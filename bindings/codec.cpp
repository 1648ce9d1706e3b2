#include "codec.hpp"

#include <Python.h>

#include <algorithm>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "bind.hpp"
#include "instances.hpp"
#include "pickle_buffers.hpp"
#include "pickler.hpp"
#include "wire/extensions.hpp"

namespace nb = nanobind;

namespace shoal::python {
namespace {

// Deeper objects are pickled, whose own limit is the interpreter's recursion limit.
constexpr std::size_t deepest = 64;

// From here on bytes and strings are copied straight into shared memory instead of through the encoder's buffer.
constexpr Py_ssize_t large = 4096;

// Buffers that have grown past this are not kept for the next record.
constexpr std::size_t keep = 8 << 20;

}  // namespace

nb::object encoded_object::encode(PyObject* object) {
  parts_.clear();
  bool done = try_msgpack(object);
  if (!done && !pickler::is_ready()) {
    (void)pickler::instance();  // imports; without it nobody can tell which instances have reducers of their own
    done = try_msgpack(object);
  }
  if (!done) {
    in_place_.clear();
    return pickle(object);
  }
  tag_ = encoding::msgpack;
  encoder_.pieces(parts_);
  return in_place_.empty() ? nb::object() : kept_in_place();
}

std::size_t encoded_object::size() const noexcept {
  std::size_t size = 0;
  for (const const_bytes part : parts_) {
    size += part.size();
  }
  return size;
}

void encoded_object::append_to(std::vector<std::byte>& out) const {
  for (const const_bytes part : parts_) {
    out.insert(out.end(), part.begin(), part.end());
  }
}

std::vector<std::byte> encoded_object::copy() const {
  std::vector<std::byte> all;
  all.reserve(size());
  append_to(all);
  return all;
}

bool encoded_object::try_msgpack(PyObject* object) {
  if (encoder_.bytes().size() > keep) {
    encoder_ = encoder();
  }
  encoder_.clear();
  seen_.clear();
  in_place_.clear();
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
    const std::string_view string(text, static_cast<std::size_t>(size));
    if (size < large) {
      encoder_.string(string);
    } else {
      encoder_.string_in_place(string);
      in_place_.push_back(nb::borrow(object));
    }
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
    const const_bytes bytes(reinterpret_cast<const std::byte*>(PyBytes_AS_STRING(object)),
                            static_cast<std::size_t>(PyBytes_GET_SIZE(object)));
    if (PyBytes_GET_SIZE(object) < large) {
      encoder_.binary(bytes);
    } else {
      encoder_.binary_in_place(bytes);
      in_place_.push_back(nb::borrow(object));
    }
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
  return append_instance(object, depth);
}

bool encoded_object::append_instance(PyObject* object, std::size_t depth) {
  const class_name* const name = name_to_encode(Py_TYPE(object));
  if (name == nullptr || seen_before(object)) {
    return false;
  }
  const nb::object attributes = attributes_of(object);
  // The instance's reference and this function's own.
  if (!attributes.is_valid() || seen_before(attributes.ptr(), 2)) {
    return false;
  }
  const auto count = static_cast<std::size_t>(PyDict_GET_SIZE(attributes.ptr()));
  encoder_.begin_extension(wire::instance_extension);
  encoder_.begin_array(3);
  encoder_.string(name->module());
  encoder_.string(name->qualname());
  if (count == 0) {
#if PY_VERSION_HEX < 0x030B0000
    return false;  // pickle sends an empty state
#endif
    encoder_.nil();
  } else {
    encoder_.begin_map(count);
  }
  Py_ssize_t at = 0;
  PyObject* key = nullptr;
  PyObject* value = nullptr;
  while (PyDict_Next(attributes.ptr(), &at, &key, &value) != 0) {
    if (!append_attribute_name(key) || !append(value, depth + 1)) {
      return false;
    }
  }
  encoder_.end_extension();
  return true;
}

bool encoded_object::append_attribute_name(PyObject* name) {
  if (!PyUnicode_CheckExact(name)) {
    return false;
  }
  Py_ssize_t size = 0;
  const char* const text = PyUnicode_AsUTF8AndSize(name, &size);
  if (text == nullptr) {
    PyErr_Clear();
    return false;
  }
  const std::string_view attribute(text, static_cast<std::size_t>(size));
  encoder_.string(attribute);
  return !may_steer_pickle(attribute);
}

bool encoded_object::append_items(PyObject* const* items, std::size_t count, std::size_t depth) {
  return std::all_of(items, items + count, [&](PyObject* item) { return append(item, depth); });
}

// Only a container that something else refers to as well can be met twice.
bool encoded_object::seen_before(PyObject* container, Py_ssize_t own_references) {
  if (Py_REFCNT(container) <= own_references) {
    return false;
  }
  return !seen_.insert(container);
}

nb::object encoded_object::kept_in_place() {
  nb::list kept;
  for (nb::object& object : in_place_) {
    kept.append(std::move(object));
  }
  in_place_.clear();
  return kept;
}

nb::object encoded_object::pickle(PyObject* object) {
  const pickled made = pickler::instance().dump(object);
  if (made.buffers.is_valid()) {
    tag_ = encoding::pickle_buffers;
    return pack(made, head_, parts_);
  }
  tag_ = encoding::pickle;
  return append_pickle(made.bytes, parts_);
}

void bind_codec(nb::module_& module) {
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
