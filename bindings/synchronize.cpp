#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <pthread.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <optional>
#include <stdexcept>
#include <thread>
#include <utility>

#include "bind.hpp"
#include "plain_method.hpp"
#include "sync/binary_semaphore.hpp"
#include "sync/event.hpp"
#include "waiting.hpp"

namespace nb = nanobind;

namespace shoal::python {
namespace {

using location = std::pair<int, std::uint32_t>;

memory::slot_location slot_at(const location& place) { return {place.first, place.second}; }

// getpid() is a system call, and dearer than an uncontended lock.
std::atomic<pid_t> this_process = [] {
  ::pthread_atfork(nullptr, nullptr, [] { this_process.store(::getpid(), std::memory_order_relaxed); });
  return ::getpid();
}();

/// shoal._core.SemLock: a binary_semaphore, and which thread of this process has taken it, as multiprocessing's own
/// class knows.
class sem_lock {
 public:
  sem_lock() = default;
  explicit sem_lock(const location& place) : semaphore_(slot_at(place)) {}

  bool acquire(deadline until) {
    bool acquired = semaphore_.try_acquire();
    if (!acquired && until != no_waiting) {
      acquired = wait_without_gil([&] { return semaphore_.acquire_until(until); }, sync::wait_result::interrupted) ==
                 sync::wait_result::done;
    }
    if (acquired) {
      owner_.store(std::this_thread::get_id(), std::memory_order_relaxed);
      owner_process_.store(this_process, std::memory_order_relaxed);
    }
    return acquired;
  }

  void release() {
    // Before the release: afterwards another thread may have taken it and stored itself.
    owner_.store(std::thread::id(), std::memory_order_relaxed);
    if (!semaphore_.release()) {
      throw std::invalid_argument("semaphore or lock released too many times");
    }
  }

  // A forked child finds its parent's owner here, and may even have the same thread id.
  [[nodiscard]] bool is_held() const noexcept {
    return owner_.load(std::memory_order_relaxed) != std::thread::id() &&
           owner_process_.load(std::memory_order_relaxed) == this_process;
  }
  [[nodiscard]] bool is_mine() const noexcept {
    return is_held() && owner_.load(std::memory_order_relaxed) == std::this_thread::get_id();
  }
  [[nodiscard]] bool is_free() const noexcept { return semaphore_.is_free(); }

  location where() noexcept {
    const memory::slot_location place = semaphore_.location();
    return {place.arena, place.index};
  }

 private:
  sync::binary_semaphore semaphore_;
  std::atomic<std::thread::id> owner_{};
  std::atomic<pid_t> owner_process_{0};
};

PyObject* acquire(PyObject* self, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords) noexcept {
  return guarded([&] {
    const deadline until =
        count > 0 || keywords != nullptr ? parse_waiting("acquire", {arguments, count, keywords}) : forever;
    return PyBool_FromLong(instance_of<sem_lock>(self).acquire(until) ? 1 : 0);
  });
}

PyObject* release(PyObject* self, PyObject* /*unused*/) noexcept {
  return guarded([&]() -> PyObject* {
    instance_of<sem_lock>(self).release();
    Py_RETURN_NONE;
  });
}

PyObject* enter(PyObject* self, PyObject* /*unused*/) noexcept {
  return guarded([&] { return PyBool_FromLong(instance_of<sem_lock>(self).acquire(forever) ? 1 : 0); });
}

PyObject* leave(PyObject* self, PyObject* const* /*unused*/, Py_ssize_t /*unused*/) noexcept {
  return release(self, nullptr);
}

void add_methods(nb::handle sem_lock_type) {
  static std::array<PyMethodDef, 4> methods{{
      {"acquire", as_method(&acquire), METH_FASTCALL | METH_KEYWORDS, "acquire(block=True, timeout=None)"},
      {"release", as_method(&release), METH_NOARGS, "release()"},
      {"__enter__", as_method(&enter), METH_NOARGS, nullptr},
      {"__exit__", as_method(&leave), METH_FASTCALL, nullptr},
  }};
  add_plain_methods(sem_lock_type, methods);
}

bool wait_for(sync::event& event, std::optional<double> timeout) {
  if (event.is_set()) {
    return true;
  }
  const deadline until = deadline_of(timeout);
  const std::uint32_t generation = event.generation();
  return wait_without_gil([&] { return event.wait_until(generation, until); }, sync::wait_result::interrupted) ==
         sync::wait_result::done;
}

}  // namespace

void bind_synchronize(nb::module_& module) {
  nb::class_<sem_lock> sem_lock_type(module, "SemLock", nb::is_weak_referenceable());
  add_methods(sem_lock_type);
  sem_lock_type
      .def(
          "__init__",
          [](sem_lock* self, const std::optional<location>& attach) {
            attach ? new (self) sem_lock(*attach) : new (self) sem_lock();
          },
          nb::kw_only(), nb::arg("attach") = nb::none())
      .def("_is_mine", &sem_lock::is_mine)
      .def("_count", [](const sem_lock& self) { return self.is_held() ? 1 : 0; })
      .def("_get_value", [](const sem_lock& self) { return self.is_free() ? 1 : 0; })
      .def("_is_zero", [](const sem_lock& self) { return !self.is_free(); })
      .def("location", &sem_lock::where);

  nb::class_<sync::event>(module, "Event", nb::is_weak_referenceable())
      .def(
          "__init__",
          [](sync::event* self, const std::optional<location>& attach) {
            attach ? new (self) sync::event(slot_at(*attach)) : new (self) sync::event();
          },
          nb::kw_only(), nb::arg("attach") = nb::none())
      .def("is_set", &sync::event::is_set)
      .def("set", &sync::event::set)
      .def("clear", &sync::event::clear)
      .def("wait", &wait_for, nb::arg("timeout") = nb::none())
      .def("location", [](sync::event& self) {
        const memory::slot_location place = self.location();
        return location(place.arena, place.index);
      });
}

}  // namespace shoal::python
