#include <Python.h>
#include <nanobind/nanobind.h>

#include "bind.hpp"

namespace nb = nanobind;

namespace shoal::python {
namespace {

/// For a class that was derived in Python: makes the plain methods that it inherits its own. CPython calls a method in
/// a third of the time if it is one of the object's very class.
nb::object with_own_methods(const nb::object& derived) {
  if (!PyType_Check(derived.ptr())) {
    throw nb::type_error("with_own_methods() takes a class");
  }
  auto* const type = reinterpret_cast<PyTypeObject*>(derived.ptr());
  for (Py_ssize_t i = 1; i < PyTuple_GET_SIZE(type->tp_mro); ++i) {
    auto* const base = reinterpret_cast<PyTypeObject*>(PyTuple_GET_ITEM(type->tp_mro, i));
    if (base == &PyBaseObject_Type) {
      continue;
    }
    const nb::object inherited = nb::handle(reinterpret_cast<PyObject*>(base)).attr("__dict__");
    for (const nb::handle name : nb::list(inherited)) {
      const nb::object attribute = inherited[name];
      // Only what an instance would find: a class in between may have a method of that name in Python.
      if (Py_IS_TYPE(attribute.ptr(), &PyMethodDescr_Type) && _PyType_Lookup(type, name.ptr()) == attribute.ptr()) {
        PyMethodDef* const method = reinterpret_cast<PyMethodDescrObject*>(attribute.ptr())->d_method;
        nb::setattr(derived, name, nb::steal(PyDescr_NewMethod(type, method)));
      }
    }
  }
  return derived;
}

}  // namespace

void bind_own_methods(nb::module_& module) { module.def("with_own_methods", &with_own_methods, nb::arg("derived")); }

}  // namespace shoal::python
