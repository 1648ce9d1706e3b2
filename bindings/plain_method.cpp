#include "plain_method.hpp"

#include <array>
#include "waiting.hpp"

namespace nb = nanobind;

namespace shoal::python {

deadline parse_waiting(const char* method, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords,
                       Py_ssize_t first) {
  std::array<PyObject*, 2> given{};  // block, timeout
  if (count > first + 2) {
    PyErr_Format(PyExc_TypeError, "%s() takes at most %zd arguments (%zd given)", method, first + 2, count);
    throw nb::python_error();
  }
  for (Py_ssize_t i = first; i < count; ++i) {
    given[static_cast<std::size_t>(i - first)] = arguments[i];
  }
  for (Py_ssize_t i = 0; keywords != nullptr && i < PyTuple_GET_SIZE(keywords); ++i) {
    PyObject* const name = PyTuple_GET_ITEM(keywords, i);
    const bool is_block = PyUnicode_CompareWithASCIIString(name, "block") == 0;
    const bool is_timeout = PyUnicode_CompareWithASCIIString(name, "timeout") == 0;
    if ((!is_block && !is_timeout) || given[is_block ? 0 : 1] != nullptr) {
      PyErr_Format(PyExc_TypeError,
                   is_block || is_timeout ? "%s() got multiple values for argument '%U'"
                                          : "%s() got an unexpected keyword argument '%U'",
                   method, name);
      throw nb::python_error();
    }
    given[is_block ? 0 : 1] = arguments[count + i];
  }
  const auto [block, timeout] = given;
  if (block != nullptr) {
    const int truth = PyObject_IsTrue(block);
    if (truth < 0) {
      throw nb::python_error();
    }
    if (truth == 0) {
      return no_waiting;
    }
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

void add_plain_methods(nb::handle type, std::span<PyMethodDef> methods) {
  for (PyMethodDef& method : methods) {
    const nb::object descriptor = nb::steal(PyDescr_NewMethod(reinterpret_cast<PyTypeObject*>(type.ptr()), &method));
    nb::setattr(type, method.ml_name, descriptor);
  }
}

}  // namespace shoal::python
