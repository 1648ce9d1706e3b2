#include "plain_method.hpp"

#include <algorithm>

#include "waiting.hpp"

namespace nb = nanobind;

namespace shoal::python {
namespace {

[[noreturn]] void raise_unexpected(const char* method, PyObject* name, bool known) {
  PyErr_Format(PyExc_TypeError,
               known ? "%s() got multiple values for argument '%U'" : "%s() got an unexpected keyword argument '%U'",
               method, name);
  throw nb::python_error();
}

}  // namespace

void parse_arguments(const parameters& expected, const call_arguments& call, std::span<PyObject*> given) {
  const auto count = static_cast<std::size_t>(call.positional);
  if (count > expected.positional) {
    PyErr_Format(PyExc_TypeError, "%s() takes at most %zu positional arguments (%zu given)", expected.method,
                 expected.positional, count);
    throw nb::python_error();
  }
  std::copy_n(call.values, count, given.begin());
  const Py_ssize_t named = call.names == nullptr ? 0 : PyTuple_GET_SIZE(call.names);
  for (Py_ssize_t i = 0; i < named; ++i) {
    PyObject* const name = PyTuple_GET_ITEM(call.names, i);
    const auto found = std::find_if(expected.names.begin(), expected.names.end(), [&](const char* parameter) {
      return PyUnicode_CompareWithASCIIString(name, parameter) == 0;
    });
    const auto at = static_cast<std::size_t>(found - expected.names.begin());
    if (at == given.size() || given[at] != nullptr) {
      raise_unexpected(expected.method, name, at != given.size());
    }
    given[at] = call.values[call.positional + i];
  }
  for (std::size_t i = 0; i < expected.required; ++i) {
    if (given[i] == nullptr) {
      PyErr_Format(PyExc_TypeError, "%s() missing required argument: '%s'", expected.method, expected.names[i]);
      throw nb::python_error();
    }
  }
}

deadline waiting_deadline(PyObject* block, PyObject* timeout) {
  if (block != nullptr && !is_true(block)) {
    return no_waiting;
  }
  if (timeout == nullptr || timeout == Py_None) {
    return forever;
  }
  const double seconds = PyFloat_AsDouble(timeout);
  if (seconds == -1.0 && PyErr_Occurred() != nullptr) {
    throw nb::python_error();
  }
  return deadline_of(seconds);
}

deadline parse_waiting(const char* method, const call_arguments& call) {
  const auto [block, timeout] = parse_arguments(method, {"block", "timeout"}, 0, 2, call);
  return waiting_deadline(block, timeout);
}

bool is_true(PyObject* argument) {
  if (argument == nullptr) {
    return false;
  }
  const int truth = PyObject_IsTrue(argument);
  if (truth < 0) {
    throw nb::python_error();
  }
  return truth != 0;
}

void add_plain_methods(nb::handle type, std::span<PyMethodDef> methods) {
  for (PyMethodDef& method : methods) {
    const nb::object descriptor = nb::steal(PyDescr_NewMethod(reinterpret_cast<PyTypeObject*>(type.ptr()), &method));
    nb::setattr(type, method.ml_name, descriptor);
  }
}

}  // namespace shoal::python
