#pragma once

#include <Python.h>

#include <cstddef>

#include "elements.hpp"
#include "locks.hpp"

// The native part of shoal.sharedctypes: a ctypes object in shared memory, with the lock that guards it.
//
// These are plain CPython types, not nanobind's: shoal.sharedctypes derives classes with several bases from them.
namespace shoal::python {

/// shoal._core.SynchronizedBase, and what SynchronizedValue and SynchronizedArray have as well. Bound once by __init__,
/// and the same from then on.
struct synchronized {
  PyObject_HEAD PyObject* object;  // the ctypes object; null until bound
  PyObject* lock;
  python_lock* native;  // the lock in `lock`, if that is one of Shoal's
  const element* type;  // null: only ctypes knows how to read and write it
  std::byte* data;      // kept in existence by `object`; null as `type`
  Py_ssize_t count;     // elements of an array; -1: a single value
};

/// The bound object. @return null, with an exception set, if a subclass's __init__ has not called this one's.
synchronized* bound(PyObject* self) noexcept;

/// While it exists after a successful acquire(), the caller has the lock of a synchronized object.
class held_lock {
 public:
  explicit held_lock(const synchronized& owner) noexcept : lock_(owner.lock), native_(owner.native) {}
  held_lock(const held_lock&) = delete;
  held_lock& operator=(const held_lock&) = delete;

  /// @return false, with an exception set and without the lock: also if its holder has died.
  [[nodiscard]] bool acquire() noexcept;

  /// Keeps an exception that is set already. @return false if there is one, then or now.
  bool release() noexcept;

 private:
  PyObject* lock_;
  python_lock* native_;
  bool held_anyway_ = false;  // by this thread, before
};

/// The result of `body()`, a new reference or null, run under the lock.
template <class Body>
PyObject* under_lock(const synchronized& owner, Body body) noexcept {
  held_lock lock(owner);
  if (!lock.acquire()) {
    return nullptr;
  }
  PyObject* result = body();
  if (!lock.release()) {
    Py_CLEAR(result);
  }
  return result;
}

PyTypeObject* make_synchronized_value(PyTypeObject* base) noexcept;
PyTypeObject* make_synchronized_array(PyTypeObject* base) noexcept;

/// Raises TypeError for an atomic operation that cannot be done: there is no arithmetic for such an object, or an
/// operand is no number of its kind.
PyObject* raise_no_operand(const synchronized& owner, const char* method) noexcept;

/// Whether there is arithmetic for what is in the object.
[[nodiscard]] inline bool counts(const synchronized& owner) noexcept {
  return owner.type != nullptr && owner.type->fetch_add != nullptr;
}

}  // namespace shoal::python
