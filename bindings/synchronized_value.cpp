#include <nanobind/nanobind.h>

#include "plain_method.hpp"
#include "synchronized.hpp"

namespace shoal::python {
namespace {

PyObject* value_name() {
  static PyObject* const name = PyUnicode_InternFromString("value");
  return name;
}

PyObject* get_value(PyObject* self, void* /*unused*/) {
  const synchronized* const owner = bound(self);
  if (owner == nullptr) {
    return nullptr;
  }
  if (owner->type == nullptr) {
    return under_lock(*owner, [&] { return PyObject_GetAttr(owner->object, value_name()); });
  }
  alignas(8) std::byte found[8];
  held_lock lock(*owner);
  if (!lock.acquire()) {
    return nullptr;
  }
  owner->type->copy(owner->data, found);
  return lock.release() ? owner->type->load(found) : nullptr;
}

int set_value(PyObject* self, PyObject* value, void* /*unused*/) {
  const synchronized* const owner = bound(self);
  if (owner == nullptr) {
    return -1;
  }
  alignas(8) std::byte wanted[8];
  held_lock lock(*owner);
  if (value != nullptr && owner->type != nullptr && owner->type->convert(value, wanted)) {
    if (!lock.acquire()) {
      return -1;
    }
    owner->type->copy(wanted, owner->data);
    return lock.release() ? 0 : -1;
  }
  if (!lock.acquire()) {
    return -1;
  }
  const int result = PyObject_SetAttr(owner->object, value_name(), value);
  return lock.release() ? result : -1;
}

PyObject* add(PyObject* self, PyObject* summand) {
  const synchronized* const owner = bound(self);
  if (owner == nullptr) {
    return nullptr;
  }
  alignas(8) std::byte before[8];
  if (counts(*owner) && owner->type->fetch_add(owner->data, summand, before)) {
    Py_RETURN_NONE;
  }
  return raise_no_operand(*owner, "add");
}

PyObject* fetch_add(PyObject* self, PyObject* summand) {
  const synchronized* const owner = bound(self);
  if (owner == nullptr) {
    return nullptr;
  }
  alignas(8) std::byte before[8];
  if (counts(*owner) && owner->type->fetch_add(owner->data, summand, before)) {
    return owner->type->load(before);
  }
  return raise_no_operand(*owner, "fetch_add");
}

PyObject* compare_exchange(PyObject* self, PyObject* const* arguments, Py_ssize_t count, PyObject* names) noexcept {
  return guarded([&]() -> PyObject* {
    const auto [expected, desired] =
        parse_arguments("compare_exchange", {"expected", "desired"}, 2, 2, {arguments, count, names});
    const synchronized* const owner = bound(self);
    if (owner == nullptr) {
      return nullptr;
    }
    const auto exchanged =
        counts(*owner) ? owner->type->compare_exchange(owner->data, expected, desired) : std::nullopt;
    return exchanged ? PyBool_FromLong(*exchanged ? 1 : 0) : raise_no_operand(*owner, "compare_exchange");
  });
}

}  // namespace

PyTypeObject* make_synchronized_value(PyTypeObject* base) noexcept {
  static PyMethodDef methods[] = {
      {"add", &add, METH_O, "Adds a number, in one step and without taking the lock; wraps around as ctypes does."},
      {"fetch_add", &fetch_add, METH_O, "As add(); returns what was there before."},
      {"compare_exchange", as_method(&compare_exchange), METH_FASTCALL | METH_KEYWORDS,
       "Replaces the value by `desired` if it equals `expected`, in one step and without taking the lock. Returns "
       "whether "
       "it did."},
      {nullptr, nullptr, 0, nullptr},
  };
  static PyGetSetDef attributes[] = {
      {"value", &get_value, &set_value, "The value; reading and writing take the lock.", nullptr},
      {nullptr, nullptr, nullptr, nullptr, nullptr},
  };
  static PyType_Slot slots[] = {{Py_tp_methods, methods}, {Py_tp_getset, attributes}, {0, nullptr}};
  static PyType_Spec spec = {"shoal._core.SynchronizedValue", sizeof(synchronized), 0,
                             Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots};
  return reinterpret_cast<PyTypeObject*>(PyType_FromSpecWithBases(&spec, reinterpret_cast<PyObject*>(base)));
}

}  // namespace shoal::python
