#pragma once

#include <Python.h>

#include <cstddef>
#include <optional>

// The elements of shared values and arrays, for the types of ctypes that hold a number or a character: how they are
// converted, exactly as ctypes does it. What is not simple is left to ctypes itself, with its errors.
// Needs the GIL; runs no Python code.
namespace shoal::python {

/// How elements of one type are converted. All memory must be aligned for the type.
struct element {
  const char* format;  // as in `struct`; null if it has none
  std::size_t size;

  /// The Python object for the element at `from`; null with an exception set.
  PyObject* (*load)(const std::byte* from);
  /// What a slice of ctypes gives for `count` elements: a list, bytes or str; null with an exception set.
  PyObject* (*load_all)(const std::byte* from, Py_ssize_t count);

  /// Converts `value`. @return false, without an exception, if ctypes has to do it.
  bool (*convert)(PyObject* value, std::byte* to);
  bool (*convert_all)(PyObject* const* values, Py_ssize_t count, std::byte* to);

  /// Copies one element, whole or not at all to anybody who looks meanwhile.
  void (*copy)(const std::byte* from, std::byte* to);

  /// Adds a number in one step, and tells what was there before. Null where there is no arithmetic.
  /// @return false, without an exception, if `summand` is no number of that kind.
  bool (*fetch_add)(std::byte* at, PyObject* summand, std::byte* before);
  /// Replaces the element at `at` by `desired` if it equals `expected`, in one step. Null where there is no arithmetic.
  /// @return nothing if one of them is no number of that kind.
  std::optional<bool> (*compare_exchange)(std::byte* at, PyObject* expected, PyObject* desired);

  /// Whether `load_all` makes one object that contains the elements, not a list of objects.
  bool is_text;
};

/// Of the type of ctypes with this `_type_`; null if it is none of these.
[[nodiscard]] const element* element_of(char code) noexcept;

/// Converts all of a sequence of `count` values at once. @return false, without an exception, if ctypes has to do it:
/// it is of another length, or holds something that is not simple.
[[nodiscard]] bool convert_sequence(const element& type, PyObject* values, Py_ssize_t count, std::byte* to);

}  // namespace shoal::python
