#include <nanobind/nanobind.h>

#include <cstring>
#include <memory>
#include <new>

#include "plain_method.hpp"
#include "synchronized.hpp"

namespace shoal::python {
namespace {

/// Memory for elements on their way between Python objects and shared memory: the lock is held while they are copied,
/// not while they are converted.
class scratch {
 public:
  explicit scratch(std::size_t bytes) noexcept
      : many_(bytes > sizeof few_ ? new (std::nothrow) std::byte[bytes] : nullptr),
        data_(bytes > sizeof few_ ? many_.get() : few_) {
    if (data_ == nullptr) {
      PyErr_NoMemory();
    }
  }

  [[nodiscard]] std::byte* data() const noexcept { return data_; }  // null, with an exception set: no memory

 private:
  alignas(16) std::byte few_[512];
  std::unique_ptr<std::byte[]> many_;
  std::byte* data_;
};

std::byte* element_at(const synchronized& owner, Py_ssize_t index) noexcept {
  return owner.data + index * static_cast<Py_ssize_t>(owner.type->size);
}

/// @return false if the key is no index of an element that this module knows how to handle.
bool find(const synchronized& owner, PyObject* key, Py_ssize_t& index) noexcept {
  if (owner.type == nullptr || !PyLong_CheckExact(key)) {
    return false;
  }
  index = PyLong_AsSsize_t(key);
  if (index == -1 && PyErr_Occurred() != nullptr) {
    PyErr_Clear();
    return false;
  }
  index += index < 0 ? owner.count : 0;
  return index >= 0 && index < owner.count;
}

PyObject* get_element(const synchronized& owner, Py_ssize_t index) noexcept {
  alignas(8) std::byte found[8];
  held_lock lock(owner);
  if (!lock.acquire()) {
    return nullptr;
  }
  owner.type->copy(element_at(owner, index), found);
  return lock.release() ? owner.type->load(found) : nullptr;
}

PyObject* get_slice(const synchronized& owner, PyObject* key) noexcept {
  Py_ssize_t start = 0, stop = 0, step = 0;
  if (PySlice_Unpack(key, &start, &stop, &step) != 0) {
    return nullptr;
  }
  const Py_ssize_t count = PySlice_AdjustIndices(owner.count, &start, &stop, step);
  if (step == 1 && owner.type->is_text) {
    return under_lock(owner, [&] { return owner.type->load_all(element_at(owner, start), count); });
  }
  const std::size_t size = owner.type->size;
  const std::size_t bytes = static_cast<std::size_t>(count) * size;
  const scratch copied(bytes);
  if (copied.data() == nullptr) {
    return nullptr;
  }
  held_lock lock(owner);
  if (!lock.acquire()) {
    return nullptr;
  }
  if (step == 1) {
    std::memcpy(copied.data(), element_at(owner, start), bytes);
  } else {
    for (Py_ssize_t i = 0; i < count; ++i) {
      std::memcpy(copied.data() + static_cast<std::size_t>(i) * size, element_at(owner, start + i * step), size);
    }
  }
  return lock.release() ? owner.type->load_all(copied.data(), count) : nullptr;
}

PyObject* subscript(PyObject* self, PyObject* key) {
  const synchronized* const owner = bound(self);
  if (owner == nullptr) {
    return nullptr;
  }
  Py_ssize_t index = 0;
  if (find(*owner, key, index)) {
    return get_element(*owner, index);
  }
  if (owner->type != nullptr && PySlice_Check(key)) {
    return get_slice(*owner, key);
  }
  return under_lock(*owner, [&] { return PyObject_GetItem(owner->object, key); });
}

PyObject* item(PyObject* self, Py_ssize_t index) {
  const synchronized* const owner = bound(self);
  if (owner == nullptr) {
    return nullptr;
  }
  if (owner->type != nullptr && index >= 0 && index < owner->count) {
    return get_element(*owner, index);
  }
  return under_lock(*owner, [&] { return PySequence_GetItem(owner->object, index); });
}

int set_element(const synchronized& owner, Py_ssize_t index, const std::byte* wanted) noexcept {
  held_lock lock(owner);
  if (!lock.acquire()) {
    return -1;
  }
  owner.type->copy(wanted, element_at(owner, index));
  return lock.release() ? 0 : -1;
}

/// @return false if ctypes has to do it; otherwise `result` is what to return.
bool set_slice(const synchronized& owner, PyObject* key, PyObject* values, int& result) noexcept {
  Py_ssize_t start = 0, stop = 0, step = 0;
  result = -1;
  if (PySlice_Unpack(key, &start, &stop, &step) != 0) {
    return true;
  }
  const Py_ssize_t count = PySlice_AdjustIndices(owner.count, &start, &stop, step);
  const std::size_t size = owner.type->size;
  const std::size_t bytes = static_cast<std::size_t>(count) * size;
  const scratch converted(bytes);
  if (converted.data() == nullptr) {
    return true;
  }
  if (!convert_sequence(*owner.type, values, count, converted.data())) {
    return false;
  }
  held_lock lock(owner);
  if (lock.acquire()) {
    if (step == 1) {
      std::memcpy(element_at(owner, start), converted.data(), bytes);
    } else {
      for (Py_ssize_t i = 0; i < count; ++i) {
        std::memcpy(element_at(owner, start + i * step), converted.data() + static_cast<std::size_t>(i) * size, size);
      }
    }
    result = lock.release() ? 0 : -1;
  }
  return true;
}

int assign_subscript(PyObject* self, PyObject* key, PyObject* value) {
  const synchronized* const owner = bound(self);
  if (owner == nullptr) {
    return -1;
  }
  Py_ssize_t index = 0;
  alignas(8) std::byte converted[8];
  if (value != nullptr && find(*owner, key, index) && owner->type->convert(value, converted)) {
    return set_element(*owner, index, converted);
  }
  int result = -1;
  if (value != nullptr && owner->type != nullptr && PySlice_Check(key) && set_slice(*owner, key, value, result)) {
    return result;
  }
  held_lock lock(*owner);
  if (!lock.acquire()) {
    return -1;
  }
  result = value == nullptr ? PyObject_DelItem(owner->object, key) : PyObject_SetItem(owner->object, key, value);
  return lock.release() ? result : -1;
}

Py_ssize_t length(PyObject* self) {
  const synchronized* const owner = bound(self);
  if (owner == nullptr) {
    return -1;
  }
  return owner->type != nullptr ? owner->count : PyObject_Size(owner->object);
}

/// The element that an atomic operation is for. @return null with an exception set.
std::byte* element_for(const synchronized& owner, const char* method, PyObject* key) noexcept {
  if (!counts(owner)) {
    raise_no_operand(owner, method);
    return nullptr;
  }
  const Py_ssize_t index = PyNumber_AsSsize_t(key, PyExc_IndexError);
  if (index == -1 && PyErr_Occurred() != nullptr) {
    return nullptr;
  }
  const Py_ssize_t at = index < 0 ? index + owner.count : index;
  if (at < 0 || at >= owner.count) {
    PyErr_Format(PyExc_IndexError, "%s() was asked for index %zd of an array of %zd elements", method, index,
                 owner.count);
    return nullptr;
  }
  return element_at(owner, at);
}

/// Calls `done(owner, before)` after the addition. @return null with an exception set.
template <class Done>
PyObject* add_with(PyObject* self, const char* method, const call_arguments& call, Done done) noexcept {
  return guarded([&]() -> PyObject* {
    const auto [key, summand] = parse_arguments(method, {"index", "x"}, 2, 2, call);
    const synchronized* const owner = bound(self);
    std::byte* const at = owner == nullptr ? nullptr : element_for(*owner, method, key);
    if (at == nullptr) {
      return nullptr;
    }
    alignas(8) std::byte before[8];
    return owner->type->fetch_add(at, summand, before) ? done(*owner, before) : raise_no_operand(*owner, method);
  });
}

PyObject* add(PyObject* self, PyObject* const* arguments, Py_ssize_t count, PyObject* names) noexcept {
  return add_with(self, "add", {arguments, count, names},
                  [](const synchronized& /*unused*/, const std::byte* /*unused*/) { return Py_NewRef(Py_None); });
}

PyObject* fetch_add(PyObject* self, PyObject* const* arguments, Py_ssize_t count, PyObject* names) noexcept {
  return add_with(self, "fetch_add", {arguments, count, names},
                  [](const synchronized& owner, const std::byte* before) { return owner.type->load(before); });
}

PyObject* compare_exchange(PyObject* self, PyObject* const* arguments, Py_ssize_t count, PyObject* names) noexcept {
  return guarded([&]() -> PyObject* {
    const auto [key, expected, desired] =
        parse_arguments("compare_exchange", {"index", "expected", "desired"}, 3, 3, {arguments, count, names});
    const synchronized* const owner = bound(self);
    std::byte* const at = owner == nullptr ? nullptr : element_for(*owner, "compare_exchange", key);
    if (at == nullptr) {
      return nullptr;
    }
    const auto exchanged = owner->type->compare_exchange(at, expected, desired);
    return exchanged ? PyBool_FromLong(*exchanged ? 1 : 0) : raise_no_operand(*owner, "compare_exchange");
  });
}

}  // namespace

PyTypeObject* make_synchronized_array(PyTypeObject* base) noexcept {
  static PyMethodDef methods[] = {
      {"add", as_method(&add), METH_FASTCALL | METH_KEYWORDS,
       "Adds a number to an element, in one step and without taking the lock; wraps around as ctypes does."},
      {"fetch_add", as_method(&fetch_add), METH_FASTCALL | METH_KEYWORDS, "As add(); returns what was there before."},
      {"compare_exchange", as_method(&compare_exchange), METH_FASTCALL | METH_KEYWORDS,
       "Replaces an element by `desired` if it equals `expected`, in one step and without taking the lock. Returns "
       "whether it did."},
      {nullptr, nullptr, 0, nullptr},
  };
  static PyType_Slot slots[] = {
      {Py_tp_methods, methods},
      {Py_mp_length, reinterpret_cast<void*>(&length)},
      {Py_mp_subscript, reinterpret_cast<void*>(&subscript)},
      {Py_mp_ass_subscript, reinterpret_cast<void*>(&assign_subscript)},
      {Py_sq_length, reinterpret_cast<void*>(&length)},
      {Py_sq_item, reinterpret_cast<void*>(&item)},
      {0, nullptr},
  };
  static PyType_Spec spec = {"shoal._core.SynchronizedArray", sizeof(synchronized), 0,
                             Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots};
  return reinterpret_cast<PyTypeObject*>(PyType_FromSpecWithBases(&spec, reinterpret_cast<PyObject*>(base)));
}

}  // namespace shoal::python
