#include <Python.h>
#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <pthread.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <optional>
#include <stdexcept>
#include <thread>

#include "acquire_arguments.hpp"
#include "bind.hpp"
#include "plain_method.hpp"
#include "scope_methods.hpp"
#include "slots.hpp"
#include "sync/semaphore.hpp"
#include "visible_wait.hpp"

namespace nb = nanobind;

namespace shoal::python {
namespace {

// getpid() is a system call, and dearer than an uncontended semaphore.
std::atomic<pid_t> this_process = [] {
  ::pthread_atfork(nullptr, nullptr, [] { this_process.store(::getpid(), std::memory_order_relaxed); });
  return ::getpid();
}();

/// shoal._core.Semaphore: a semaphore, and what of it this process has, as multiprocessing's own class knows.
class python_semaphore {
 public:
  python_semaphore(std::uint32_t units, std::uint32_t most) : semaphore_(units, most) {}
  explicit python_semaphore(const location& place) : semaphore_(slot_at(place)) {}

  bool try_acquire() {
    const bool acquired = semaphore_.try_acquire();
    if (acquired) {
      note(1);
    }
    return acquired;
  }

  bool acquire(deadline until) {
    if (try_acquire()) {
      return true;
    }
    const bool acquired = until != no_waiting && wait_visibly(
                                                     semaphore_.slot(), [&] { return semaphore_.acquire_until(until); },
                                                     sync::wait_result::interrupted) == sync::wait_result::done;
    if (acquired) {
      note(1);
    }
    return acquired;
  }

  void release() {
    note(-1);
    if (!semaphore_.release()) {
      note(1);
      throw std::invalid_argument("semaphore or lock released too many times");
    }
  }

  [[nodiscard]] std::uint32_t value() const noexcept { return semaphore_.value(); }
  [[nodiscard]] std::uint32_t most() const noexcept { return semaphore_.most(); }
  [[nodiscard]] int count() const noexcept {
    return process_.load(std::memory_order_relaxed) == this_process.load(std::memory_order_relaxed)
               ? count_.load(std::memory_order_relaxed)
               : 0;
  }
  [[nodiscard]] bool is_mine() const noexcept {
    return count() > 0 && thread_.load(std::memory_order_relaxed) == std::this_thread::get_id();
  }
  location where() noexcept { return location_of(semaphore_); }

 private:
  // How many more it has. Under the GIL, so that nobody comes in between.
  void note(int more) noexcept {
    count_.store(count() + more, std::memory_order_relaxed);
    process_.store(this_process.load(std::memory_order_relaxed), std::memory_order_relaxed);
    if (more > 0) {
      thread_.store(std::this_thread::get_id(), std::memory_order_relaxed);
    }
  }

  sync::semaphore semaphore_;
  std::atomic<int> count_{0};
  std::atomic<pid_t> process_{0};  // that has them: a forked child finds its parent's here
  std::atomic<std::thread::id> thread_{};
};

PyObject* acquire(PyObject* self, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords) noexcept {
  return guarded([&]() -> PyObject* {
    auto& semaphore = instance_of<python_semaphore>(self);
    if (count == 0 && keywords == nullptr) {
      semaphore.acquire(forever);
      Py_RETURN_TRUE;
    }
    const acquire_arguments call({arguments, count, keywords}, false);
    return PyBool_FromLong(semaphore.try_acquire() || (call.blocks() && semaphore.acquire(call.until())) ? 1 : 0);
  });
}

PyObject* release(PyObject* self, PyObject* /*unused*/) noexcept {
  return guarded([&]() -> PyObject* {
    instance_of<python_semaphore>(self).release();
    Py_RETURN_NONE;
  });
}

PyObject* enter(PyObject* self, PyObject* const* /*unused*/) noexcept {
  return guarded([&] { return PyBool_FromLong(instance_of<python_semaphore>(self).acquire(forever) ? 1 : 0); });
}

PyObject* leave(PyObject* self, PyObject* const* /*unused*/) noexcept { return release(self, nullptr); }

PyObject* locked(PyObject* self, PyObject* /*unused*/) noexcept {
  return guarded([&] { return PyBool_FromLong(instance_of<python_semaphore>(self).value() == 0 ? 1 : 0); });
}

PyObject* get_value(PyObject* self, PyObject* /*unused*/) noexcept {
  return guarded([&] { return PyLong_FromUnsignedLong(instance_of<python_semaphore>(self).value()); });
}

}  // namespace

void bind_semaphore(nb::module_& module) {
  static std::array<PyMethodDef, 4> methods{{
      {"acquire", as_method(&acquire), METH_FASTCALL | METH_KEYWORDS, "acquire(block=True, timeout=None)"},
      {"release", as_method(&release), METH_NOARGS, "release()"},
      {"locked", as_method(&locked), METH_NOARGS, "locked()"},
      {"get_value", as_method(&get_value), METH_NOARGS, "get_value()"},
  }};
  nb::class_<python_semaphore> type(module, "Semaphore", nb::is_weak_referenceable());
  add_plain_methods(type, methods);
  add_scope_methods(type, &enter, &leave);
  type.def(
          "__init__",
          [](python_semaphore* self, std::uint32_t units, std::uint32_t most, const std::optional<location>& attach) {
            attach ? new (self) python_semaphore(*attach) : new (self) python_semaphore(units, most);
          },
          nb::arg("units"), nb::arg("most"), nb::kw_only(), nb::arg("attach") = nb::none())
      .def("_is_mine", &python_semaphore::is_mine)
      .def("_count", &python_semaphore::count)
      .def("_get_value", &python_semaphore::value)
      .def("_is_zero", [](const python_semaphore& self) { return self.value() == 0; })
      .def_prop_ro("maxvalue", &python_semaphore::most)
      .def("location", &python_semaphore::where);
}

}  // namespace shoal::python
