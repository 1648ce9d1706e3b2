#include "synchronized.hpp"

#include <nanobind/nanobind.h>

#include <optional>

#include "bind.hpp"
#include "plain_method.hpp"
#include "scope_methods.hpp"
#include "shared_block.hpp"

namespace nb = nanobind;

namespace shoal::python {
namespace {

PyObject* name(const char* text) { return PyUnicode_InternFromString(text); }

PyObject* call(PyObject* object, PyObject* method) noexcept {
  return PyObject_VectorcallMethod(method, &object, 1 | PY_VECTORCALL_ARGUMENTS_OFFSET, nullptr);
}

int traverse(PyObject* self, visitproc visit, void* arg) {
  const auto* const owner = reinterpret_cast<synchronized*>(self);
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(owner->object);
  Py_VISIT(owner->lock);
  return 0;
}

int clear(PyObject* self) {
  auto* const owner = reinterpret_cast<synchronized*>(self);
  owner->native = nullptr;
  owner->type = nullptr;
  owner->data = nullptr;
  Py_CLEAR(owner->object);
  Py_CLEAR(owner->lock);
  return 0;
}

void deallocate(PyObject* self) {
  PyObject_GC_UnTrack(self);
  PyTypeObject* const type = Py_TYPE(self);
  clear(self);
  type->tp_free(self);
  Py_DECREF(type);
}

/// _bind(object, lock, block, code, count): for __init__; block is None if only ctypes knows how to use the object.
PyObject* bind(PyObject* self, PyObject* const* arguments, Py_ssize_t given) noexcept {
  return guarded([&]() -> PyObject* {
    if (given != 5) {
      PyErr_SetString(PyExc_TypeError, "_bind() takes 5 arguments");
      return nullptr;
    }
    auto* const owner = reinterpret_cast<synchronized*>(self);
    const Py_ssize_t count = PyLong_AsSsize_t(arguments[4]);
    if (count == -1 && PyErr_Occurred() != nullptr) {
      return nullptr;
    }
    const element* type = nullptr;
    std::byte* data = nullptr;
    if (arguments[2] != Py_None) {
      const auto code = nb::cast<char>(nb::handle(arguments[3]));
      const auto& block = nb::cast<const shared_block&>(nb::handle(arguments[2]));
      type = element_of(code);
      if (type == nullptr || block.size() / type->size < static_cast<std::size_t>(count < 0 ? 1 : count)) {
        PyErr_SetString(PyExc_ValueError, "_bind(): the block does not hold such an object");
        return nullptr;
      }
      data = block.data();
    }
    if (owner->object != nullptr) {
      // Methods, which may be waiting for the lock just now, rely on what they have found.
      PyErr_Format(PyExc_RuntimeError, "%s.__init__() was called twice", Py_TYPE(self)->tp_name);
      return nullptr;
    }
    owner->object = Py_NewRef(arguments[0]);
    owner->lock = Py_NewRef(arguments[1]);
    owner->native = native_lock(owner->lock);
    owner->type = type;
    owner->data = data;
    owner->count = count;
    Py_RETURN_NONE;
  });
}

PyObject* get_obj(PyObject* self, PyObject* /*unused*/) {
  const synchronized* const owner = bound(self);
  return owner == nullptr ? nullptr : Py_NewRef(owner->object);
}

PyObject* get_lock(PyObject* self, PyObject* /*unused*/) {
  const synchronized* const owner = bound(self);
  return owner == nullptr ? nullptr : Py_NewRef(owner->lock);
}

PyObject* enter(PyObject* self, PyObject* const* /*unused*/) noexcept {
  static PyObject* const method = name("__enter__");
  const synchronized* const owner = bound(self);
  if (owner == nullptr) {
    return nullptr;
  }
  if (owner->native == nullptr) {
    return call(owner->lock, method);
  }
  return guarded([&]() -> PyObject* {
    owner->native->acquire(owner->lock, forever, after_death::give_it_back);
    Py_RETURN_TRUE;
  });
}

PyObject* leave(PyObject* self, PyObject* const* arguments) noexcept {
  static PyObject* const method = name("__exit__");
  const synchronized* const owner = bound(self);
  if (owner == nullptr) {
    return nullptr;
  }
  if (owner->native == nullptr) {
    PyObject* const passed_on[] = {owner->lock, arguments[0], arguments[1], arguments[2]};
    return PyObject_VectorcallMethod(method, passed_on, 4, nullptr);
  }
  return guarded([&]() -> PyObject* {
    owner->native->release();
    Py_RETURN_NONE;
  });
}

PyObject* acquire_method(PyObject* self, void* /*unused*/) {
  const synchronized* const owner = bound(self);
  return owner == nullptr ? nullptr : PyObject_GetAttrString(owner->lock, "acquire");
}

PyObject* release_method(PyObject* self, void* /*unused*/) {
  const synchronized* const owner = bound(self);
  return owner == nullptr ? nullptr : PyObject_GetAttrString(owner->lock, "release");
}

PyObject* object_attribute(PyObject* self, void* /*unused*/) { return get_obj(self, nullptr); }
PyObject* lock_attribute(PyObject* self, void* /*unused*/) { return get_lock(self, nullptr); }

/// With the lock taken: getattr(get_obj(), name).
PyObject* get_field(PyObject* self, PyObject* attribute) {
  const synchronized* const owner = bound(self);
  if (owner == nullptr) {
    return nullptr;
  }
  return under_lock(*owner, [&] { return PyObject_GetAttr(owner->object, attribute); });
}

PyObject* set_field(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
  const synchronized* const owner = bound(self);
  if (owner == nullptr) {
    return nullptr;
  }
  if (count != 2) {
    PyErr_SetString(PyExc_TypeError, "_set_field() takes 2 arguments");
    return nullptr;
  }
  return under_lock(*owner, [&] {
    return PyObject_SetAttr(owner->object, arguments[0], arguments[1]) == 0 ? Py_NewRef(Py_None) : nullptr;
  });
}

int offer_buffer(PyObject* self, Py_buffer* view, int flags) {
  const synchronized* const owner = bound(self);
  if (owner == nullptr) {
    return -1;
  }
  if (owner->type == nullptr || owner->type->format == nullptr) {
    return PyObject_GetBuffer(owner->object, view, flags);
  }
  const auto size = static_cast<Py_ssize_t>(owner->type->size);
  const Py_ssize_t bytes = size * (owner->count < 0 ? 1 : owner->count);
  if (PyBuffer_FillInfo(view, self, owner->data, bytes, 0, flags) != 0) {
    return -1;
  }
  // The same without ctypes's byte order in the format, which memoryview does not understand.
  view->itemsize = size;
  if ((flags & PyBUF_FORMAT) != 0) {
    view->format = const_cast<char*>(owner->type->format);
  }
  view->ndim = owner->count < 0 ? 0 : 1;
  if (view->ndim == 0) {
    view->shape = nullptr;
    view->strides = nullptr;
  } else if ((flags & PyBUF_ND) != 0) {
    view->shape = const_cast<Py_ssize_t*>(&owner->count);
    if ((flags & PyBUF_STRIDES) == PyBUF_STRIDES) {
      static Py_ssize_t strides[] = {1, 2, 4, 8};
      view->strides = &strides[size == 1 ? 0 : size == 2 ? 1 : size == 4 ? 2 : 3];
    }
  }
  return 0;
}

PyTypeObject* make_base() noexcept {
  static PyMethodDef methods[] = {
      {"_bind", as_method(&bind), METH_FASTCALL, nullptr},
      {"get_obj", &get_obj, METH_NOARGS, "The ctypes object; using it does not take the lock."},
      {"get_lock", &get_lock, METH_NOARGS, "The lock."},
      {"_get_field", &get_field, METH_O, nullptr},
      {"_set_field", as_method(&set_field), METH_FASTCALL, nullptr},
      {nullptr, nullptr, 0, nullptr},
  };
  static PyGetSetDef attributes[] = {
      {"acquire", &acquire_method, nullptr, "The lock's method.", nullptr},
      {"release", &release_method, nullptr, "The lock's method.", nullptr},
      {"_obj", &object_attribute, nullptr, nullptr, nullptr},
      {"_lock", &lock_attribute, nullptr, nullptr, nullptr},
      {nullptr, nullptr, nullptr, nullptr, nullptr},
  };
  static PyType_Slot slots[] = {
      {Py_tp_new, reinterpret_cast<void*>(&PyType_GenericNew)},
      {Py_tp_dealloc, reinterpret_cast<void*>(&deallocate)},
      {Py_tp_traverse, reinterpret_cast<void*>(&traverse)},
      {Py_tp_clear, reinterpret_cast<void*>(&clear)},
      {Py_tp_methods, methods},
      {Py_tp_getset, attributes},
      {Py_bf_getbuffer, reinterpret_cast<void*>(&offer_buffer)},
      {0, nullptr},
  };
  static PyType_Spec spec = {"shoal._core.SynchronizedBase", sizeof(synchronized), 0,
                             Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, slots};
  return reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&spec));
}

/// Whether `values`, a list or the like, was written to the first elements of a block without the help of ctypes.
bool fill_block(shared_block& block, char code, nb::handle values, Py_ssize_t count) {
  const element* const type = element_of(code);
  return type != nullptr && count >= 0 && block.size() / type->size >= static_cast<std::size_t>(count) &&
         convert_sequence(*type, values.ptr(), count, block.data());
}

}  // namespace

synchronized* bound(PyObject* self) noexcept {
  auto* const owner = reinterpret_cast<synchronized*>(self);
  if (owner->object == nullptr) {
    PyErr_Format(PyExc_RuntimeError, "%s.__init__ did not call super().__init__()", Py_TYPE(self)->tp_name);
    return nullptr;
  }
  return owner;
}

bool held_lock::acquire() noexcept {
  if (native_ != nullptr) {
    // Of a thread that has it there is nobody to wait for.
    held_anyway_ = native_->is_recursive() && native_->is_mine();
    if (held_anyway_) {
      return true;
    }
    try {
      native_->acquire(lock_, forever, after_death::give_it_back);
      return true;
    } catch (...) {
      set_error_from_current_exception();
      return false;
    }
  }
  static PyObject* const method = name("acquire");
  PyObject* const result = call(lock_, method);
  Py_XDECREF(result);
  return result != nullptr;
}

bool held_lock::release() noexcept {
  if (held_anyway_) {
    return PyErr_Occurred() == nullptr;
  }
  if (native_ != nullptr && PyErr_Occurred() == nullptr) {
    try {
      native_->release();
      return true;
    } catch (...) {
      set_error_from_current_exception();
      return false;
    }
  }
  static PyObject* const method = name("release");
  std::optional<nb::python_error> raised;
  if (PyErr_Occurred() != nullptr) {
    raised.emplace();
  }
  PyObject* const result = call(lock_, method);
  Py_XDECREF(result);
  if (raised) {
    PyErr_Clear();
    raised->restore();
    return false;
  }
  return result != nullptr;
}

PyObject* raise_no_operand(const synchronized& owner, const char* method) noexcept {
  const char* const type = Py_TYPE(owner.object)->tp_name;
  if (!counts(owner)) {
    return PyErr_Format(PyExc_TypeError,
                        "%s() is for integers and floats in shared memory; this is a %s. Change it with its lock held.",
                        method, type);
  }
  const bool is_float = owner.type->format[0] == 'f' || owner.type->format[0] == 'd';
  return PyErr_Format(PyExc_TypeError, "%s() of a %s needs %s", method, type,
                      is_float ? "floats, or ints that fit one" : "ints");
}

void bind_synchronized(nb::module_& module) {
  PyTypeObject* const base = make_base();
  PyTypeObject* const value = base == nullptr ? nullptr : make_synchronized_value(base);
  PyTypeObject* const array = value == nullptr ? nullptr : make_synchronized_array(base);
  if (array == nullptr) {
    throw nb::python_error();
  }
  add_scope_methods(reinterpret_cast<PyObject*>(base), &enter, &leave);
  module.attr("SynchronizedBase") = nb::steal(reinterpret_cast<PyObject*>(base));
  module.attr("SynchronizedValue") = nb::steal(reinterpret_cast<PyObject*>(value));
  module.attr("SynchronizedArray") = nb::steal(reinterpret_cast<PyObject*>(array));
  module.def("fill_block", &fill_block, nb::arg("block"), nb::arg("code"), nb::arg("values"), nb::arg("count"));
}

}  // namespace shoal::python
