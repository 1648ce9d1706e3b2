#include <Python.h>
#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>

#include <array>
#include <optional>
#include <utility>

#include "bind.hpp"
#include "imported.hpp"
#include "plain_method.hpp"
#include "slots.hpp"
#include "sync/barrier_core.hpp"
#include "visible_wait.hpp"

namespace nb = nanobind;

namespace shoal::python {
namespace {

using sync::barrier_result;

/// shoal._core.Barrier: a barrier_core, and what this process does at the end of each phase that it is the last in.
class python_barrier {
 public:
  python_barrier(std::uint32_t parties, nb::object action, std::optional<double> timeout)
      : barrier_(parties), action_(std::move(action)), timeout_(timeout) {}
  python_barrier(const location& place, nb::object action, std::optional<double> timeout)
      : barrier_(slot_at(place)), action_(std::move(action)), timeout_(timeout) {}

  std::uint32_t wait(deadline until) {
    sync::barrier_core::party me(barrier_);
    // Not limited: who comes too early for a phase waits for what those in it are doing, not for others to come.
    check(visibly([&] { return me.arrive_until(forever); }));
    if (me.is_last()) {
      run_action(me);
      check(me.complete());
      return me.index();
    }
    barrier_result result = visibly([&] { return me.wait_until(until); });
    if (result == barrier_result::timed_out) {
      result = me.give_up();
    }
    check(result);
    return me.index();
  }

  void abort() noexcept { barrier_.abort(); }
  void reset() noexcept { barrier_.reset(); }
  [[nodiscard]] sync::barrier_word look() const noexcept { return barrier_.look(); }
  [[nodiscard]] std::optional<double> timeout() const noexcept { return timeout_; }
  [[nodiscard]] nb::object action() const { return action_; }
  location where() noexcept { return location_of(barrier_); }

  int traverse(visitproc visit, void* arg) const {
    Py_VISIT(nb::handle(action_).ptr());
    return 0;
  }
  void clear() { action_.reset(); }

 private:
  template <class Attempt>
  barrier_result visibly(Attempt attempt) {
    return wait_visibly(barrier_.slot(), attempt, barrier_result::interrupted);
  }

  static void check(barrier_result result) {
    if (result != barrier_result::done) {
      static constinit imported broken("threading", "BrokenBarrierError");
      PyErr_SetNone(broken.get());
      throw nb::python_error();
    }
  }

  void run_action(sync::barrier_core::party& last) const {
    const nb::object action = action_;
    if (!action.is_valid() || action.is_none()) {
      return;
    }
    try {
      action();
    } catch (nb::python_error&) {
      (void)last.give_up();
      throw;
    }
  }

  sync::barrier_core barrier_;
  nb::object action_;
  std::optional<double> timeout_;
};

int traverse(PyObject* self, visitproc visit, void* arg) noexcept {
  Py_VISIT(Py_TYPE(self));
  return nb::inst_ready(self) ? nb::inst_ptr<python_barrier>(self)->traverse(visit, arg) : 0;
}

int clear(PyObject* self) noexcept {
  if (nb::inst_ready(self)) {
    nb::inst_ptr<python_barrier>(self)->clear();
  }
  return 0;
}

PyObject* wait(PyObject* self, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords) noexcept {
  return guarded([&] {
    auto& barrier = instance_of<python_barrier>(self);
    const auto [timeout] = parse_arguments("wait", {"timeout"}, 0, 1, {arguments, count, keywords});
    const bool given = timeout != nullptr && timeout != Py_None;
    const deadline until = given ? waiting_deadline(nullptr, timeout) : deadline_of(barrier.timeout());
    return PyLong_FromUnsignedLong(barrier.wait(until));
  });
}

}  // namespace

void bind_barrier(nb::module_& module) {
  static std::array<PyMethodDef, 1> methods{{
      {"wait", as_method(&wait), METH_FASTCALL | METH_KEYWORDS, "wait(timeout=None)"},
  }};
  // The action may lead back to the barrier.
  static std::array<PyType_Slot, 3> slots{{
      {Py_tp_traverse, reinterpret_cast<void*>(&traverse)},
      {Py_tp_clear, reinterpret_cast<void*>(&clear)},
      {0, nullptr},
  }};
  nb::class_<python_barrier> type(module, "Barrier", nb::is_weak_referenceable(), nb::type_slots(slots.data()));
  add_plain_methods(type, methods);
  type.def(
          "__init__",
          [](python_barrier* self, std::uint32_t parties, const nb::object& action, std::optional<double> timeout,
             const std::optional<location>& attach) {
            attach ? new (self) python_barrier(*attach, action, timeout)
                   : new (self) python_barrier(parties, action, timeout);
          },
          nb::arg("parties"), nb::arg("action").none(), nb::arg("timeout").none(), nb::kw_only(),
          nb::arg("attach") = nb::none())
      .def("abort", &python_barrier::abort)
      .def("reset", &python_barrier::reset)
      .def_prop_ro("parties", [](const python_barrier& self) { return self.look().parties; })
      .def_prop_ro("n_waiting",
                   [](const python_barrier& self) {
                     const sync::barrier_word word = self.look();
                     return word.broken ? 0 : word.arrived;
                   })
      .def_prop_ro("broken", [](const python_barrier& self) { return self.look().broken; })
      .def_prop_ro("_action", &python_barrier::action)
      .def_prop_ro("_timeout", &python_barrier::timeout)
      .def("location", &python_barrier::where);
}

}  // namespace shoal::python
