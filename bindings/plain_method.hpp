#pragma once

#include <Python.h>
#include <nanobind/nanobind.h>

#include <array>
#include <cstddef>
#include <span>

#include "errors.hpp"
#include "shoal/deadline.hpp"

// Methods that programs call in a loop are plain CPython methods: they parse their arguments in less time than a
// general argument parser takes to look up their names.
namespace shoal::python {

/// The arguments of a call, as CPython hands them to a METH_FASTCALL | METH_KEYWORDS method.
struct call_arguments {
  PyObject* const* values;  // the positional ones, then those given by name
  Py_ssize_t positional;
  PyObject* names;  // a tuple, or null
};

/// What a method takes.
struct parameters {
  const char* method;
  std::span<const char* const> names;
  std::size_t required = 0;    // so many of them must be given
  std::size_t positional = 0;  // so many of them may be given without a name
};

/// Sorts the arguments of a call by parameter; `given` is as long as `expected.names` and null where there is none.
/// @throws nb::python_error  TypeError.
void parse_arguments(const parameters& expected, const call_arguments& call, std::span<PyObject*> given);

template <std::size_t N>
std::array<PyObject*, N> parse_arguments(const char* method, const char* const (&names)[N], std::size_t required,
                                         std::size_t positional, const call_arguments& call) {
  std::array<PyObject*, N> given{};
  parse_arguments({method, names, required, positional}, call, given);
  return given;
}

/// The deadline that arguments `block` and `timeout` (each may be null) ask for, as in `queue.Queue.put` and `get`.
/// @throws nb::python_error  what converting them raises.
deadline waiting_deadline(PyObject* block, PyObject* timeout);

/// The deadline that the arguments of a call with parameters `block` and `timeout` ask for.
/// @throws nb::python_error  TypeError, or what converting them raises.
deadline parse_waiting(const char* method, const call_arguments& call);

/// Whether an argument, which may be null, is given and true. @throws nb::python_error  what its __bool__ raises.
bool is_true(PyObject* argument);

/// The object in `self`. @throws nb::python_error  a subclass's __init__ has not called this one's.
template <class T>
T& instance_of(PyObject* self) {
  if (!nanobind::inst_ready(self)) {
    PyErr_Format(PyExc_RuntimeError, "%s.__init__ did not call super().__init__()", Py_TYPE(self)->tp_name);
    throw nanobind::python_error();
  }
  return *nanobind::inst_ptr<T>(self);
}

/// The result of a method's body; an exception that leaves the body becomes Python's.
template <class Body>
PyObject* guarded(Body body) noexcept {
  try {
    return body();
  } catch (...) {
    set_error_from_current_exception();
    return nullptr;
  }
}

template <class Function>
PyCFunction as_method(Function function) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

/// `methods` must live as long as the type.
void add_plain_methods(nanobind::handle type, std::span<PyMethodDef> methods);

}  // namespace shoal::python
