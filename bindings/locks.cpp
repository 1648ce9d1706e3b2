#include "locks.hpp"

#include <Python.h>
#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>

#include <algorithm>
#include <array>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "acquire_arguments.hpp"
#include "bind.hpp"
#include "plain_method.hpp"
#include "scope_methods.hpp"
#include "shoal/error.hpp"
#include "sync/lock_survey.hpp"
#include "visible_wait.hpp"

namespace nb = nanobind;

namespace shoal::python {
namespace {

nb::object report(const char* kind) { return nb::module_::import_("shoal._lock_reports").attr(kind); }

/// Raises what shoal._lock_reports makes of it.
[[noreturn]] void raise(const nb::object& exception) {
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(exception.ptr())), exception.ptr());
  throw nb::python_error();
}

[[noreturn]] void raise_owner_died(PyObject* self, const lock_holder& dead, after_death after) {
  raise(report("owner_died")(nb::handle(self), dead.process, dead.thread, dead.since, after == after_death::keep_it));
}

[[noreturn]] void raise_timeout(PyObject* self, double waited) { raise(report("timed_out")(nb::handle(self), waited)); }

/// A warning that this thread has waited for itself.
void warn_of_itself(PyObject* self) {
  const nb::object text = report("waited_for_itself")(nb::handle(self));
  if (PyErr_WarnEx(PyExc_RuntimeWarning, nb::cast<const char*>(text), 1) < 0) {
    throw nb::python_error();
  }
}

}  // namespace

bool python_lock::held_after(PyObject* self, const sync::lock_attempt& attempt, after_death after) {
  switch (attempt.status) {
    case sync::lock_status::acquired:
      return true;
    case sync::lock_status::owner_died:
      lock_.consistent();
      if (!recovers_) {
        if (after == after_death::give_it_back) {
          release();
        }
        raise_owner_died(self, attempt.dead, after);
      }
      return true;
    case sync::lock_status::unrecoverable:
      throw error(
          std::make_error_code(std::errc::state_not_recoverable),
          "this lock cannot be acquired any more: its holder has died, and a C++ program, which was told so, has "
          "unlocked it without saying that what it guards was mended. Replace both.");
    case sync::lock_status::timed_out:
    case sync::lock_status::interrupted:
      return false;
  }
  return false;
}

bool python_lock::wait(PyObject* self, deadline until, after_death after) {
  sync::lock_attempt attempt;
  const auto lock = [&] {
    attempt = lock_.lock_until(until, ends);
    return attempt.status;
  };
  (void)wait_visibly(lock_.slot(), lock, sync::lock_status::interrupted);
  return held_after(self, attempt, after);
}

void python_lock::raise_not_held() const {
  if (is_recursive()) {
    PyErr_SetString(PyExc_AssertionError, "attempt to release recursive lock not owned by thread");
  } else {
    PyErr_SetString(PyExc_ValueError, "semaphore or lock released too many times");
  }
  throw nb::python_error();
}

std::uint32_t python_lock::release_all() {
  const std::uint32_t times = lock_.count();
  lock_.state().depth.store(0, std::memory_order_relaxed);
  lock_.release();
  return times;
}

void python_lock::acquire_again(PyObject* self, std::uint32_t times) {
  std::exception_ptr postponed;
  sync::lock_attempt attempt = lock_.try_lock(ends);
  if (attempt.status == sync::lock_status::timed_out) {
    shown_wait shown(lock_.slot());
    for (;;) {
      {
        const released_gil released;
        attempt = lock_.lock_until(forever, ends);
      }
      if (attempt.status != sync::lock_status::interrupted) {
        break;
      }
      try {
        run_signal_handlers();
      } catch (nb::python_error&) {
        if (postponed) {
          throw;
        }
        postponed = std::current_exception();
      }
      shown.update();
    }
  }
  if (attempt.status == sync::lock_status::acquired || attempt.status == sync::lock_status::owner_died) {
    lock_.state().depth.store(times - 1, std::memory_order_relaxed);
  }
  held_after(self, attempt, after_death::keep_it);
  if (postponed) {
    std::rethrow_exception(postponed);
  }
}

std::uint32_t python_lock::count() const {
  if (lock_.is_mine()) {
    return lock_.count();
  }
  return lock_.is_held_here() ? lock_.state().depth.load(std::memory_order_relaxed) + 1 : 0;
}

namespace {

template <class Lock>
PyObject* acquire(PyObject* self, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords) noexcept {
  return guarded([&]() -> PyObject* {
    auto& lock = instance_of<Lock>(self);
    if (count == 0 && keywords == nullptr) {
      lock.acquire(self, forever);
      Py_RETURN_TRUE;
    }
    const acquire_arguments call({arguments, count, keywords}, true);
    if (lock.try_acquire(self) || (call.blocks() && lock.acquire(self, call.until()))) {
      Py_RETURN_TRUE;
    }
    if (call.raises()) {
      raise_timeout(self, call.timeout());
    }
    if (call.blocks() && !lock.is_recursive() && lock.is_mine()) {
      warn_of_itself(self);
    }
    Py_RETURN_FALSE;
  });
}

template <class Lock>
PyObject* release(PyObject* self, PyObject* /*unused*/) noexcept {
  return guarded([&]() -> PyObject* {
    instance_of<Lock>(self).release();
    Py_RETURN_NONE;
  });
}

template <class Lock>
PyObject* enter(PyObject* self, PyObject* const* /*unused*/) noexcept {
  return guarded([&]() -> PyObject* {
    instance_of<Lock>(self).acquire(self, forever, after_death::give_it_back);
    Py_RETURN_TRUE;
  });
}

template <class Lock>
PyObject* leave(PyObject* self, PyObject* const* /*unused*/) noexcept {
  return release<Lock>(self, nullptr);
}

template <class Lock>
PyObject* locked(PyObject* self, PyObject* /*unused*/) noexcept {
  return guarded([&] { return PyBool_FromLong(instance_of<Lock>(self).is_locked() ? 1 : 0); });
}

template <class Lock>
std::array<PyMethodDef, 3>& methods_of() {
  static std::array<PyMethodDef, 3> methods{{
      {"acquire", as_method(&acquire<Lock>), METH_FASTCALL | METH_KEYWORDS,
       "acquire(block=True, timeout=None, *, raises=False)"},
      {"release", as_method(&release<Lock>), METH_NOARGS, "release()"},
      {"locked", as_method(&locked<Lock>), METH_NOARGS, "locked()"},
  }};
  return methods;
}

// The types, once they are there; they are never released. And what their methods are.
PyTypeObject* plain_lock_type = nullptr;
PyTypeObject* recursive_lock_type = nullptr;

/// What a class's method is: the same for one that is only inherited, also by with_own_methods().
const void* method_of(PyTypeObject* type, PyObject* name) noexcept {
  PyObject* const found = _PyType_Lookup(type, name);  // borrowed
  return found != nullptr && Py_IS_TYPE(found, &PyMethodDescr_Type)
             ? static_cast<const void*>(reinterpret_cast<PyMethodDescrObject*>(found)->d_method)
             : found;
}

bool has_methods_of(PyTypeObject* type, PyTypeObject* base) noexcept {
  static const std::array<PyObject*, 4> names{
      PyUnicode_InternFromString("acquire"), PyUnicode_InternFromString("release"),
      PyUnicode_InternFromString("__enter__"), PyUnicode_InternFromString("__exit__")};
  return std::all_of(names.begin(), names.end(),
                     [&](PyObject* name) { return method_of(type, name) == method_of(base, name); });
}

nb::object holder_of(const python_lock& lock) {
  const std::optional<lock_holder> holder = const_cast<python_lock&>(lock).lock().holder();
  return holder ? nb::object(nb::make_tuple(holder->process, holder->thread, holder->since, holder->alive))
                : nb::none();
}

template <class Lock>
PyTypeObject* bind_lock(nb::module_& module, const char* name) {
  nb::class_<Lock> type(module, name, nb::is_weak_referenceable());
  add_plain_methods(type, methods_of<Lock>());
  add_scope_methods(type, &enter<Lock>, &leave<Lock>);
  type.def(
          "__init__",
          [](Lock* self, const nb::str& label, bool recovers, const std::optional<location>& attach) {
            attach ? new (self) Lock(*attach, recovers) : new (self) Lock(std::string_view(label.c_str()), recovers);
          },
          nb::kw_only(), nb::arg("label") = "", nb::arg("recovers") = false, nb::arg("attach") = nb::none())
      .def("_is_mine", [](const Lock& self) { return self.is_mine(); })
      .def("_count", [](const Lock& self) { return self.count(); })
      .def("_get_value", [](const Lock& self) { return self.is_locked() ? 0 : 1; })
      .def("_is_zero", [](const Lock& self) { return self.is_locked(); })
      .def_prop_ro(
          "label",
          [](Lock& self) {
            const std::string label = self.lock().label();
            return nb::steal(PyUnicode_DecodeUTF8(label.data(), static_cast<Py_ssize_t>(label.size()), "ignore"));
          })
      .def_prop_ro("_recovers", [](const Lock& self) { return self.recovers(); })
      .def("_holder", [](const Lock& self) { return holder_of(self); })
      .def("_waiting", [](Lock& self) { return sync::count_waiting(self.lock().slot()); })
      .def("location", [](Lock& self) { return location_of(self.lock()); });
  return reinterpret_cast<PyTypeObject*>(type.release().ptr());
}

}  // namespace

python_lock* native_lock(PyObject* object) noexcept {
  PyTypeObject* const type = Py_TYPE(object);
  if (PyType_IsSubtype(type, plain_lock_type) != 0) {
    return has_methods_of(type, plain_lock_type) && nb::inst_ready(object) ? nb::inst_ptr<plain_lock>(object) : nullptr;
  }
  if (PyType_IsSubtype(type, recursive_lock_type) != 0) {
    return has_methods_of(type, recursive_lock_type) && nb::inst_ready(object) ? nb::inst_ptr<recursive_lock>(object)
                                                                               : nullptr;
  }
  return nullptr;
}

void bind_locks(nb::module_& module) {
  plain_lock_type = bind_lock<plain_lock>(module, "Lock");
  recursive_lock_type = bind_lock<recursive_lock>(module, "RLock");
}

}  // namespace shoal::python
