#pragma once

#include <Python.h>
#include <nanobind/nanobind.h>

#include <span>

#include "errors.hpp"
#include "shoal/deadline.hpp"

// Methods that programs call in a loop are plain CPython methods: they parse their arguments in less time than a
// general argument parser takes to look up their names.
namespace shoal::python {

/// The deadline that arguments `block` and `timeout` behind `first` positional ones ask for, as in `queue.Queue.put`
/// and `get`.
/// @throws nb::python_error  TypeError, or what converting them raises.
deadline parse_waiting(const char* method, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords,
                       Py_ssize_t first);

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
