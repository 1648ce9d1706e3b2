#include "scope_methods.hpp"

#include <structmember.h>  // PyMemberDef, before Python 3.12

#include <array>
#include <cstddef>

namespace nb = nanobind;

namespace shoal::python {
namespace {

/// __enter__ or __exit__ of a type: a descriptor.
struct scope_method {
  PyObject_HEAD PyTypeObject* type;  // whose instances it is for; lives as long as the module
  const char* name;
  scope_action action;
  Py_ssize_t arguments;  // so many it takes
};

/// The same of one object.
struct bound_scope_method {
  PyObject_HEAD vectorcallfunc call;
  const scope_method* method;
  PyObject* self;
};

PyTypeObject* method_type = nullptr;
PyTypeObject* bound_type = nullptr;

// Some that are not in use, so that the next `with` need not allocate them. Used with the GIL held.
struct {
  std::array<bound_scope_method*, 8> objects;
  std::size_t count = 0;
} spare;

PyObject* run(const scope_method& method, PyObject* self, PyObject* const* arguments, Py_ssize_t given,
              PyObject* names) {
  if (given != method.arguments || (names != nullptr && PyTuple_GET_SIZE(names) != 0)) {
    return PyErr_Format(PyExc_TypeError, "%s() takes %zd arguments (%zd given)", method.name, method.arguments, given);
  }
  return method.action(self, arguments);
}

PyObject* call_bound(PyObject* callable, PyObject* const* arguments, std::size_t count, PyObject* names) {
  const auto* const bound = reinterpret_cast<bound_scope_method*>(callable);
  return run(*bound->method, bound->self, arguments, PyVectorcall_NARGS(count), names);
}

PyObject* bind(PyObject* method, PyObject* self, PyObject* /*unused*/) {
  if (self == nullptr) {
    return Py_NewRef(method);
  }
  bound_scope_method* bound = nullptr;
  if (spare.count > 0) {
    bound = spare.objects[--spare.count];
    PyObject_Init(reinterpret_cast<PyObject*>(bound), bound_type);
  } else {
    bound = PyObject_New(bound_scope_method, bound_type);
    if (bound == nullptr) {
      return nullptr;
    }
  }
  bound->call = &call_bound;
  bound->method = reinterpret_cast<scope_method*>(method);
  bound->self = Py_NewRef(self);
  return reinterpret_cast<PyObject*>(bound);
}

void drop(PyObject* object) {
  auto* const bound = reinterpret_cast<bound_scope_method*>(object);
  PyObject* const self = bound->self;
  if (spare.count < spare.objects.size()) {
    spare.objects[spare.count++] = bound;
  } else {
    PyObject_Free(bound);
  }
  Py_DECREF(bound_type);
  Py_DECREF(self);  // may run any code
}

/// Called by its class: Lock.__enter__(lock).
PyObject* call_unbound(PyObject* callable, PyObject* arguments, PyObject* keywords) {
  const auto* const method = reinterpret_cast<scope_method*>(callable);
  const Py_ssize_t given = PyTuple_GET_SIZE(arguments);
  PyObject* const* const values = PySequence_Fast_ITEMS(arguments);
  if (given == 0 || PyObject_TypeCheck(values[0], method->type) == 0) {
    return PyErr_Format(PyExc_TypeError, "%s() needs a %s as its first argument", method->name, method->type->tp_name);
  }
  if (keywords != nullptr && PyDict_GET_SIZE(keywords) != 0) {
    return PyErr_Format(PyExc_TypeError, "%s() takes no keyword arguments", method->name);
  }
  return run(*method, values[0], values + 1, given - 1, nullptr);
}

PyTypeObject* new_type(const char* name, std::size_t size, unsigned long flags, PyType_Slot* slots) {
  PyType_Spec spec = {name, static_cast<int>(size), 0,
                      static_cast<unsigned>(Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | flags), slots};
  PyObject* const type = PyType_FromSpec(&spec);
  if (type == nullptr) {
    throw nb::python_error();
  }
  return reinterpret_cast<PyTypeObject*>(type);
}

void make_types() {
  static PyMemberDef members[] = {
      {"__vectorcalloffset__", T_PYSSIZET, offsetof(bound_scope_method, call), READONLY, nullptr},
      {nullptr, 0, 0, 0, nullptr},
  };
  static PyType_Slot bound_slots[] = {
      {Py_tp_dealloc, reinterpret_cast<void*>(&drop)},
      {Py_tp_call, reinterpret_cast<void*>(&PyVectorcall_Call)},
      {Py_tp_members, members},
      {0, nullptr},
  };
  static PyType_Slot method_slots[] = {
      {Py_tp_descr_get, reinterpret_cast<void*>(&bind)},
      {Py_tp_call, reinterpret_cast<void*>(&call_unbound)},
      {0, nullptr},
  };
  bound_type =
      new_type("shoal._core.BoundScopeMethod", sizeof(bound_scope_method), Py_TPFLAGS_HAVE_VECTORCALL, bound_slots);
  method_type = new_type("shoal._core.ScopeMethod", sizeof(scope_method), 0, method_slots);
}

void add(nb::handle type, const char* name, scope_action action, Py_ssize_t arguments) {
  auto* const made = PyObject_New(scope_method, method_type);
  if (made == nullptr) {
    throw nb::python_error();
  }
  made->type = reinterpret_cast<PyTypeObject*>(type.ptr());
  made->name = name;
  made->action = action;
  made->arguments = arguments;
  nb::setattr(type, name, nb::steal(reinterpret_cast<PyObject*>(made)));
}

}  // namespace

void add_scope_methods(nb::handle type, scope_action enter, scope_action leave) {
  if (method_type == nullptr) {
    make_types();
  }
  add(type, "__enter__", enter, 0);
  add(type, "__exit__", leave, 3);
}

}  // namespace shoal::python
