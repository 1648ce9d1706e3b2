#include "elements.hpp"

#include <nanobind/nanobind.h>

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <type_traits>

namespace nb = nanobind;

namespace shoal::python {
namespace {

template <class T>
T value_at(const std::byte* from) noexcept {
  return std::atomic_ref<T>(*reinterpret_cast<T*>(const_cast<std::byte*>(from))).load(std::memory_order_relaxed);
}

template <class T>
void put(std::byte* to, T value) noexcept {
  std::atomic_ref<T>(*reinterpret_cast<T*>(to)).store(value, std::memory_order_relaxed);
}

/// Of an int, as ctypes takes them.
unsigned long long low_bits(PyObject* integer) noexcept {
#if PY_VERSION_HEX >= 0x030C0000
  const auto* const number = reinterpret_cast<PyLongObject*>(integer);
  if (PyUnstable_Long_IsCompact(number) != 0) {
    return static_cast<unsigned long long>(PyUnstable_Long_CompactValue(number));
  }
#endif
  return PyLong_AsUnsignedLongLongMask(integer);
}

template <class T>
PyObject* boxed(T value) {
  if constexpr (std::is_floating_point_v<T>) {
    return PyFloat_FromDouble(static_cast<double>(value));
  } else if constexpr (std::is_same_v<T, bool>) {
    return PyBool_FromLong(value ? 1 : 0);
  } else if constexpr (std::is_same_v<T, char>) {
    return PyBytes_FromStringAndSize(&value, 1);
  } else if constexpr (std::is_same_v<T, wchar_t>) {
    return PyUnicode_FromWideChar(&value, 1);
  } else if constexpr (std::is_unsigned_v<T> && sizeof(T) == sizeof(unsigned long)) {
    return PyLong_FromUnsignedLong(value);
  } else {
    return PyLong_FromLong(static_cast<long>(value));
  }
}

// Only types whose conversion runs no code of a program: it might change the sequence that it stands in.
template <class T>
bool unboxed(PyObject* value, T& out) {
  if constexpr (std::is_floating_point_v<T>) {
    if (PyFloat_Check(value)) {
      out = static_cast<T>(PyFloat_AS_DOUBLE(value));
      return true;
    }
    if (!PyLong_Check(value)) {
      return false;
    }
    const double converted = PyLong_AsDouble(value);
    if (converted == -1.0 && PyErr_Occurred() != nullptr) {
      PyErr_Clear();
      return false;
    }
    out = static_cast<T>(converted);
    return true;
  } else if constexpr (std::is_same_v<T, bool>) {
    out = value == Py_True;
    return out || value == Py_False;
  } else if constexpr (std::is_same_v<T, char>) {
    if (!PyBytes_Check(value) || PyBytes_GET_SIZE(value) != 1) {
      return false;
    }
    out = *PyBytes_AS_STRING(value);
    return true;
  } else if constexpr (std::is_same_v<T, wchar_t>) {
    if (!PyUnicode_Check(value) || PyUnicode_GetLength(value) != 1) {
      return false;
    }
    out = static_cast<wchar_t>(PyUnicode_ReadChar(value, 0));
    return true;
  } else {
    if (!PyLong_Check(value)) {
      return false;
    }
    out = static_cast<T>(low_bits(value));
    return true;
  }
}

template <class T>
PyObject* load(const std::byte* from) {
  return boxed(value_at<T>(from));
}

/// The objects for all values of a type of one byte; never released.
template <class T>
const std::array<PyObject*, 256>& all_objects() {
  static const auto objects = [] {
    std::array<PyObject*, 256> made{};
    for (std::size_t i = 0; i < made.size(); ++i) {
      made[i] = PyLong_FromLong(static_cast<T>(i));
    }
    return made;
  }();
  return objects;
}

template <class T>
PyObject* load_all(const std::byte* from, Py_ssize_t count) {
  const T* const values = reinterpret_cast<const T*>(from);
  if constexpr (std::is_same_v<T, char>) {
    return PyBytes_FromStringAndSize(values, count);
  } else if constexpr (std::is_same_v<T, wchar_t>) {
    return PyUnicode_FromWideChar(values, count);
  } else if constexpr (sizeof(T) == 1 && !std::is_same_v<T, bool>) {
    const std::array<PyObject*, 256>& objects = all_objects<T>();
    PyObject* const list = PyList_New(count);
    for (Py_ssize_t i = 0; list != nullptr && i < count; ++i) {
      PyList_SET_ITEM(list, i, Py_NewRef(objects[static_cast<unsigned char>(values[i])]));
    }
    return list;
  } else {
    PyObject* const list = PyList_New(count);
    for (Py_ssize_t i = 0; list != nullptr && i < count; ++i) {
      PyObject* const item = boxed(values[i]);
      if (item == nullptr) {
        Py_DECREF(list);
        return nullptr;
      }
      PyList_SET_ITEM(list, i, item);
    }
    return list;
  }
}

template <class T>
bool convert(PyObject* value, std::byte* to) {
  return unboxed(value, *reinterpret_cast<T*>(to));
}

template <class T>
bool convert_all(PyObject* const* values, Py_ssize_t count, std::byte* to) {
  T* const out = reinterpret_cast<T*>(to);
  for (Py_ssize_t i = 0; i < count; ++i) {
    if (!unboxed(values[i], out[i])) {
      return false;
    }
  }
  return true;
}

template <class T>
void copy(const std::byte* from, std::byte* to) {
  put(to, *reinterpret_cast<const T*>(from));
}

template <class T>
bool fetch_add(std::byte* at, PyObject* summand, std::byte* before) {
  T number;
  if (!unboxed(summand, number)) {
    return false;
  }
  const std::atomic_ref<T> shared(*reinterpret_cast<T*>(at));
  *reinterpret_cast<T*>(before) = shared.fetch_add(number, std::memory_order_seq_cst);
  return true;
}

template <class T>
std::optional<bool> compare_exchange(std::byte* at, PyObject* expected, PyObject* desired) {
  T wanted;
  T next;
  if (!unboxed(expected, wanted) || !unboxed(desired, next)) {
    return std::nullopt;
  }
  const std::atomic_ref<T> shared(*reinterpret_cast<T*>(at));
  // By value, not by bits: 0.0 is found where -0.0 lies, as everywhere in Python.
  for (T found = shared.load(std::memory_order_seq_cst); found == wanted;) {
    if (shared.compare_exchange_weak(found, next, std::memory_order_seq_cst)) {
      return true;
    }
  }
  return false;
}

template <class T>
constexpr element element_for(const char* format) {
  static_assert(std::atomic_ref<T>::is_always_lock_free);
  constexpr bool counts =
      (std::is_integral_v<T> && !std::is_same_v<T, bool> && !std::is_same_v<T, char> && !std::is_same_v<T, wchar_t>) ||
      std::is_floating_point_v<T>;
  element made{.format = format,
               .size = sizeof(T),
               .load = &load<T>,
               .load_all = &load_all<T>,
               .convert = &convert<T>,
               .convert_all = &convert_all<T>,
               .copy = &copy<T>,
               .fetch_add = nullptr,
               .compare_exchange = nullptr,
               .is_text = std::is_same_v<T, char> || std::is_same_v<T, wchar_t>};
  if constexpr (counts) {
    made.fetch_add = &fetch_add<T>;
    made.compare_exchange = &compare_exchange<T>;
  }
  return made;
}

/// Whether the elements of a buffer are, byte for byte, those of `type`.
bool holds(const Py_buffer& buffer, const element& type) {
  if (buffer.ndim != 1 || buffer.itemsize != static_cast<Py_ssize_t>(type.size) || type.format == nullptr) {
    return false;
  }
  std::string_view format = buffer.format == nullptr ? "B" : buffer.format;
  constexpr char native_order = std::endian::native == std::endian::little ? '<' : '>';
  if (!format.empty() && (format[0] == '@' || format[0] == '=' || format[0] == native_order)) {
    format.remove_prefix(1);
  }
  if (format.size() != 1) {
    return false;
  }
  constexpr std::string_view integers = "bhilq";
  constexpr std::string_view naturals = "BHILQ";
  constexpr std::string_view characters = "cbB";  // a byte is a byte
  const auto both_in = [&](std::string_view codes) {
    return codes.find(format[0]) != std::string_view::npos && codes.find(type.format[0]) != std::string_view::npos;
  };
  return format[0] == type.format[0] || both_in(integers) || both_in(naturals) || both_in(characters);
}

bool copy_buffer(const element& type, PyObject* values, Py_ssize_t count, std::byte* to) {
  Py_buffer buffer;
  if (PyObject_GetBuffer(values, &buffer, PyBUF_STRIDED_RO | PyBUF_FORMAT) != 0) {
    PyErr_Clear();
    return false;
  }
  const bool fits = holds(buffer, type) && buffer.shape[0] == count;
  const auto* const from = static_cast<const std::byte*>(buffer.buf);
  if (fits && buffer.strides[0] == buffer.itemsize) {
    std::memcpy(to, from, static_cast<std::size_t>(buffer.len));
  } else if (fits) {
    for (Py_ssize_t i = 0; i < count; ++i) {
      std::memcpy(to + static_cast<std::size_t>(i) * type.size, from + i * buffer.strides[0], type.size);
    }
  }
  PyBuffer_Release(&buffer);
  return fits;
}

bool copy_text(PyObject* text, Py_ssize_t count, std::byte* to) {
  auto* const out = reinterpret_cast<wchar_t*>(to);
  return PyUnicode_GetLength(text) == count && PyUnicode_AsWideChar(text, out, count) == count;
}

}  // namespace

const element* element_of(char code) noexcept {
  static constexpr element byte = element_for<signed char>("b");
  static constexpr element ubyte = element_for<unsigned char>("B");
  static constexpr element short_integer = element_for<short>("h");
  static constexpr element ushort_integer = element_for<unsigned short>("H");
  static constexpr element integer = element_for<int>("i");
  static constexpr element uinteger = element_for<unsigned>("I");
  static constexpr element long_integer = element_for<long>("l");
  static constexpr element ulong_integer = element_for<unsigned long>("L");
  static constexpr element single = element_for<float>("f");
  static constexpr element real = element_for<double>("d");
  static constexpr element character = element_for<char>("c");
  static constexpr element wide_character = element_for<wchar_t>(nullptr);
  static constexpr element truth = element_for<bool>("?");
  static_assert(sizeof(long) == sizeof(long long), "the codes q and Q are those of long, where ctypes makes them so");
  switch (code) {
    case 'b':
      return &byte;
    case 'B':
      return &ubyte;
    case 'h':
      return &short_integer;
    case 'H':
      return &ushort_integer;
    case 'i':
      return &integer;
    case 'I':
      return &uinteger;
    case 'l':
    case 'q':
      return &long_integer;
    case 'L':
    case 'Q':
      return &ulong_integer;
    case 'f':
      return &single;
    case 'd':
      return &real;
    case 'c':
      return &character;
    case 'u':
      return &wide_character;
    case '?':
      return &truth;
    default:
      return nullptr;
  }
}

bool convert_sequence(const element& type, PyObject* values, Py_ssize_t count, std::byte* to) {
  if (PyList_CheckExact(values) || PyTuple_CheckExact(values)) {
    return PySequence_Fast_GET_SIZE(values) == count && type.convert_all(PySequence_Fast_ITEMS(values), count, to);
  }
  if (PyRange_Check(values)) {
    if (PyObject_Size(values) != count) {
      PyErr_Clear();
      return false;
    }
    const nb::object list = nb::steal(PySequence_List(values));
    if (!list.is_valid()) {
      PyErr_Clear();
      return false;
    }
    return convert_sequence(type, list.ptr(), count, to);
  }
  if (PyUnicode_CheckExact(values)) {
    return type.format == nullptr && copy_text(values, count, to);
  }
  return PyObject_CheckBuffer(values) && copy_buffer(type, values, count, to);
}

}  // namespace shoal::python
