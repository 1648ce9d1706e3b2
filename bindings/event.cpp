#include <Python.h>
#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/tuple.h>

#include <array>
#include <cstdint>
#include <optional>
#include <tuple>

#include "bind.hpp"
#include "plain_method.hpp"
#include "sync/flag.hpp"
#include "visible_wait.hpp"

namespace nb = nanobind;

namespace shoal::python {
namespace {

using sync::flag;

PyObject* is_set(PyObject* self, PyObject* /*unused*/) noexcept {
  return guarded([&] { return PyBool_FromLong(instance_of<flag>(self).is_set() ? 1 : 0); });
}

PyObject* set(PyObject* self, PyObject* /*unused*/) noexcept {
  return guarded([&]() -> PyObject* {
    instance_of<flag>(self).set();
    Py_RETURN_NONE;
  });
}

PyObject* clear(PyObject* self, PyObject* /*unused*/) noexcept {
  return guarded([&]() -> PyObject* {
    instance_of<flag>(self).clear();
    Py_RETURN_NONE;
  });
}

PyObject* fileno(PyObject* self, PyObject* /*unused*/) noexcept {
  return guarded([&] { return PyLong_FromLong(instance_of<flag>(self).descriptor()); });
}

/// Also the descriptor of the event itself, or -1.
nb::tuple event_location(flag& event) {
  const slot_location place = event.location();
  return nb::make_tuple(place.arena, place.index, place.readiness);
}

bool wait_until(flag& event, deadline until) {
  if (event.is_set()) {
    return true;
  }
  if (until == no_waiting) {
    return false;
  }
  const std::uint32_t generation = event.generation();
  return wait_visibly(
             event.slot(), [&] { return event.wait_until(generation, until); }, sync::wait_result::interrupted) ==
         sync::wait_result::done;
}

PyObject* wait(PyObject* self, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords) noexcept {
  return guarded([&] {
    const auto [timeout] = parse_arguments("wait", {"timeout"}, 0, 1, {arguments, count, keywords});
    return PyBool_FromLong(wait_until(instance_of<flag>(self), waiting_deadline(nullptr, timeout)) ? 1 : 0);
  });
}

}  // namespace

void bind_event(nb::module_& module) {
  static std::array<PyMethodDef, 5> methods{{
      {"is_set", as_method(&is_set), METH_NOARGS, "is_set()"},
      {"set", as_method(&set), METH_NOARGS, "set()"},
      {"clear", as_method(&clear), METH_NOARGS, "clear()"},
      {"fileno", as_method(&fileno), METH_NOARGS, "fileno()"},
      {"wait", as_method(&wait), METH_FASTCALL | METH_KEYWORDS, "wait(timeout=None)"},
  }};
  nb::class_<flag> type(module, "Event", nb::is_weak_referenceable());
  add_plain_methods(type, methods);
  type.def(
          "__init__",
          [](flag* self, const std::optional<std::tuple<int, std::uint32_t, int>>& attach) {
            if (attach) {
              const auto [arena, index, readiness] = *attach;
              new (self) flag(slot_location{arena, index, readiness});
            } else {
              new (self) flag();
            }
          },
          nb::kw_only(), nb::arg("attach") = nb::none())
      .def("_generation", &flag::generation)
      .def("location", &event_location);
}

}  // namespace shoal::python
