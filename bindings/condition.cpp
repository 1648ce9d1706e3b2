#include <Python.h>
#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>

#include <algorithm>
#include <array>
#include <exception>
#include <limits>
#include <optional>
#include <stdexcept>
#include <utility>

#include "bind.hpp"
#include "locks.hpp"
#include "plain_method.hpp"
#include "scope_methods.hpp"
#include "slots.hpp"
#include "sync/wait_line.hpp"
#include "visible_wait.hpp"

namespace nb = nanobind;

namespace shoal::python {
namespace {

/// What a Condition needs of its lock: of one of ours at once, of any other through shoal._foreign_locks.
class user_lock {
 public:
  explicit user_lock(nb::object lock) : lock_(std::move(lock)), native_(native_lock(lock_.ptr())) {
    if (native_ == nullptr) {
      foreign_ = nb::module_::import_("shoal._foreign_locks").attr("ForeignLock")(lock_);
    }
  }

  [[nodiscard]] nb::handle object() const noexcept { return lock_; }
  [[nodiscard]] python_lock* native() const noexcept { return native_; }

  [[nodiscard]] bool is_mine() const {
    return native_ != nullptr ? native_->is_mine() : nb::cast<bool>(foreign_.attr("is_mine")());
  }
  /// @return what acquire_again() needs.
  [[nodiscard]] nb::object release_all() const {
    return native_ != nullptr ? nb::int_(native_->release_all()) : nb::object(foreign_.attr("release_all")());
  }
  void acquire_again(const nb::object& saved) const {
    if (native_ != nullptr) {
      native_->acquire_again(lock_.ptr(), nb::cast<std::uint32_t>(saved));
    } else {
      foreign_.attr("acquire_again")(saved);
    }
  }

  int traverse(visitproc visit, void* arg) const {
    Py_VISIT(nb::handle(lock_).ptr());
    Py_VISIT(nb::handle(foreign_).ptr());
    return 0;
  }

 private:
  nb::object lock_;
  python_lock* native_;  // in lock_
  nb::object foreign_;
};

/// shoal._core.Condition: a wait_line, and the lock that is held by who waits and who notifies.
class condition {
 public:
  explicit condition(nb::object lock) : lock_(std::in_place, std::move(lock)) {}
  condition(nb::object lock, const location& place) : line_(slot_at(place)), lock_(std::in_place, std::move(lock)) {}

  /// A lock that stays what it is for this call: a collector may have cleared this object.
  [[nodiscard]] user_lock lock() const {
    if (!lock_) {
      throw std::invalid_argument("this Condition is being destroyed");
    }
    return *lock_;
  }

  bool wait(deadline until) {
    const user_lock lock = this->lock();
    if (!lock.is_mine()) {
      raise_not_owned("must acquire() condition before using wait()");
    }
    sync::wait_line::place place(line_);  // until the lock is held again
    const nb::object saved = lock.release_all();
    sync::wait_result result = sync::wait_result::interrupted;
    std::exception_ptr raised;
    try {
      result = wait_visibly(
          line_.slot(), [&] { return place.wait_until(until); }, sync::wait_result::interrupted);
    } catch (nb::python_error&) {
      raised = std::current_exception();
    }
    try {
      lock.acquire_again(saved);
    } catch (nb::python_error& other) {
      if (result == sync::wait_result::done) {
        line_.notify(1);  // the caller sees an exception, and may not see what it was notified of
      }
      if (raised) {
        set_context(other, raised);
      }
      throw;
    }
    if (raised) {
      std::rethrow_exception(raised);
    }
    return result == sync::wait_result::done;
  }

  void notify(std::uint32_t count) {
    if (!lock().is_mine()) {
      raise_not_owned("lock is not owned");
    }
    line_.notify(count);
  }

  [[nodiscard]] std::uint32_t waiting() const noexcept { return line_.size(); }
  location where() noexcept { return location_of(line_); }

  int traverse(visitproc visit, void* arg) const { return lock_ ? lock_->traverse(visit, arg) : 0; }
  void clear() { lock_.reset(); }

 private:
  [[noreturn]] static void raise_not_owned(const char* text) {
    PyErr_SetString(PyExc_AssertionError, text);
    throw nb::python_error();
  }

  // As Python does where one exception is raised while another is on its way.
  static void set_context(const nb::python_error& raised, const std::exception_ptr& before) {
    try {
      std::rethrow_exception(before);
    } catch (nb::python_error& first) {
      if (!raised.value().is(first.value())) {
        PyException_SetContext(raised.value().ptr(), nb::object(nb::borrow(first.value())).release().ptr());
      }
    }
  }

  sync::wait_line line_;
  std::optional<user_lock> lock_;
};

int traverse(PyObject* self, visitproc visit, void* arg) noexcept {
  Py_VISIT(Py_TYPE(self));
  return nb::inst_ready(self) ? nb::inst_ptr<condition>(self)->traverse(visit, arg) : 0;
}

int clear(PyObject* self) noexcept {
  if (nb::inst_ready(self)) {
    nb::inst_ptr<condition>(self)->clear();
  }
  return 0;
}

// Those of the lock.

PyObject* acquire(PyObject* self, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords) noexcept {
  return guarded([&]() -> PyObject* {
    const user_lock lock = instance_of<condition>(self).lock();
    const nb::object method = lock.object().attr("acquire");
    return PyObject_Vectorcall(method.ptr(), arguments, static_cast<std::size_t>(count), keywords);
  });
}

PyObject* release(PyObject* self, PyObject* /*unused*/) noexcept {
  return guarded([&]() -> PyObject* {
    const user_lock lock = instance_of<condition>(self).lock();
    if (lock.native() != nullptr) {
      lock.native()->release();
      Py_RETURN_NONE;
    }
    return nb::object(lock.object().attr("release")()).release().ptr();
  });
}

PyObject* enter(PyObject* self, PyObject* const* /*unused*/) noexcept {
  return guarded([&]() -> PyObject* {
    const user_lock lock = instance_of<condition>(self).lock();
    if (lock.native() != nullptr) {
      lock.native()->acquire(lock.object().ptr(), forever, after_death::give_it_back);
      Py_RETURN_TRUE;
    }
    return nb::object(lock.object().attr("__enter__")()).release().ptr();
  });
}

PyObject* leave(PyObject* self, PyObject* const* arguments) noexcept {
  return guarded([&]() -> PyObject* {
    const user_lock lock = instance_of<condition>(self).lock();
    if (lock.native() != nullptr) {
      lock.native()->release();
      Py_RETURN_NONE;
    }
    const nb::object method = lock.object().attr("__exit__");
    return PyObject_Vectorcall(method.ptr(), arguments, 3, nullptr);
  });
}

PyObject* wait(PyObject* self, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords) noexcept {
  return guarded([&] {
    const auto [timeout] = parse_arguments("wait", {"timeout"}, 0, 1, {arguments, count, keywords});
    const deadline until = waiting_deadline(nullptr, timeout);
    return PyBool_FromLong(instance_of<condition>(self).wait(until) ? 1 : 0);
  });
}

PyObject* notify(PyObject* self, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords) noexcept {
  return guarded([&]() -> PyObject* {
    const auto [n] = parse_arguments("notify", {"n"}, 0, 1, {arguments, count, keywords});
    Py_ssize_t most = 1;
    if (n != nullptr) {
      most = PyNumber_AsSsize_t(n, nullptr);  // a larger one is the largest
      if (most == -1 && PyErr_Occurred() != nullptr) {
        throw nb::python_error();
      }
    }
    constexpr Py_ssize_t everybody = std::numeric_limits<std::uint32_t>::max();
    instance_of<condition>(self).notify(static_cast<std::uint32_t>(std::clamp<Py_ssize_t>(most, 0, everybody)));
    Py_RETURN_NONE;
  });
}

PyObject* notify_all(PyObject* self, PyObject* /*unused*/) noexcept {
  return guarded([&]() -> PyObject* {
    instance_of<condition>(self).notify(std::numeric_limits<std::uint32_t>::max());
    Py_RETURN_NONE;
  });
}

}  // namespace

void bind_condition(nb::module_& module) {
  static std::array<PyMethodDef, 5> methods{{
      {"acquire", as_method(&acquire), METH_FASTCALL | METH_KEYWORDS, "acquire(block=True, timeout=None)"},
      {"release", as_method(&release), METH_NOARGS, "release()"},
      {"wait", as_method(&wait), METH_FASTCALL | METH_KEYWORDS, "wait(timeout=None)"},
      {"notify", as_method(&notify), METH_FASTCALL | METH_KEYWORDS, "notify(n=1)"},
      {"notify_all", as_method(&notify_all), METH_NOARGS, "notify_all()"},
  }};
  // The lock may lead back to the condition.
  static std::array<PyType_Slot, 3> slots{{
      {Py_tp_traverse, reinterpret_cast<void*>(&traverse)},
      {Py_tp_clear, reinterpret_cast<void*>(&clear)},
      {0, nullptr},
  }};
  nb::class_<condition> type(module, "Condition", nb::is_weak_referenceable(), nb::type_slots(slots.data()));
  add_plain_methods(type, methods);
  add_scope_methods(type, &enter, &leave);
  type.def(
          "__init__",
          [](condition* self, const nb::object& lock, const std::optional<location>& attach) {
            attach ? new (self) condition(lock, *attach) : new (self) condition(lock);
          },
          nb::arg("lock"), nb::kw_only(), nb::arg("attach") = nb::none())
      .def_prop_ro("_lock", [](const condition& self) { return nb::object(nb::borrow(self.lock().object())); })
      .def("_waiting", &condition::waiting)
      .def("location", &condition::where);
}

}  // namespace shoal::python
