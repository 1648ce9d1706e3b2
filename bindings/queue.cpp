#include "bind.hpp"

#include <Python.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "codec.hpp"
#include "errors.hpp"
#include "imported.hpp"
#include "lease.hpp"
#include "lent.hpp"
#include "object_queue.hpp"
#include "plain_method.hpp"
#include "shoal/byte_queue.hpp"

namespace nb = nanobind;

namespace shoal::python {
namespace {

PyObject* full_exception() {
  static constinit imported full("queue", "Full");
  return full.get();
}

PyObject* empty_exception() {
  static constinit imported empty("queue", "Empty");
  return empty.get();
}

}  // namespace

queue_status object_queue::push(const encoded_object& encoded, deadline until) {
  return push_and_wait([&](deadline limit) { return queue_.push(encoded.tag(), encoded.parts(), limit); },
                       encoded.size(), until);
}

queue_status object_queue::get(nb::object& out, deadline until) {
  const lent<borrowed_record> record;
  const queue_status status = attempt_and_wait([&](deadline limit) { return queue_.borrow(*record, limit); }, until);
  if (status == queue_status::ok) {
    out = record->in_place() ? decode_borrowed(std::move(*record), record->bytes().size())
                             : decode_object(record->tag(), record->bytes());
  }
  return status;
}

queue_status object_queue::get_on_lease(nb::object& out, deadline until) {
  lease taken;
  const queue_status status = attempt_and_wait([&](deadline limit) { return queue_.pop(taken, limit); }, until);
  if (status == queue_status::ok) {
    out = make_lease(std::move(taken));
  }
  return status;
}

object_queue& usable_queue(PyObject* self) {
  auto& queue = instance_of<object_queue>(self);
  if (queue.closed()) {
    PyErr_Format(PyExc_ValueError, "Queue %R is closed", self);
    throw nb::python_error();
  }
  return queue;
}

PyObject* raise_full() {
  PyErr_SetNone(full_exception());
  return nullptr;
}

PyObject* raise_empty() {
  PyErr_SetNone(empty_exception());
  return nullptr;
}

PyObject* raise_put_after_shutdown() {
  PyErr_SetString(shut_down_exception(), "the queue was shut down, and takes no more items");
  return nullptr;
}

PyObject* raise_get_after_shutdown() {
  PyErr_SetString(shut_down_exception(), "the queue was shut down, and no item is left");
  return nullptr;
}

namespace {

// For an object that could not be put: leaves the exception being handled to Python, or to the hook of a class that
// wants to be told there, as by multiprocessing's feeder thread.
PyObject* report_unsent(PyObject* self, PyObject* object) {
  set_error_from_current_exception();
  nb::python_error raised;
  if (!raised.matches(PyExc_Exception) || !nb::cast<bool>(nb::getattr(self, "_reports_put_errors", nb::bool_(false)))) {
    raised.restore();
    return nullptr;
  }
  nb::getattr(self, "_on_queue_feeder_error")(raised.value(), nb::handle(object));
  Py_RETURN_NONE;
}

PyObject* put_until(PyObject* self, PyObject* object, deadline until) {
  object_queue& queue = usable_queue(self);
  // Of this call alone: what it has encoded stays as it is while the GIL is released.
  const lent<encoded_object> encoded;
  nb::object kept;
  try {
    kept = encoded->encode(object);
  } catch (...) {
    return report_unsent(self, object);
  }
  try {
    switch (queue.push(*encoded, until)) {
      case queue_status::ok:
        Py_RETURN_NONE;
      case queue_status::closed:
        return raise_put_after_shutdown();
      default:
        return raise_full();
    }
  } catch (const std::bad_alloc&) {
    return report_unsent(self, object);
  }
}

PyObject* received(queue_status status, nb::object& object) {
  switch (status) {
    case queue_status::ok:
      return object.release().ptr();
    case queue_status::closed:
      return raise_get_after_shutdown();
    default:
      return raise_empty();
  }
}

PyObject* get_until(PyObject* self, deadline until) {
  nb::object object;
  const queue_status status = usable_queue(self).get(object, until);
  return received(status, object);
}

PyObject* put(PyObject* self, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords) noexcept {
  return guarded([&] {
    if (count == 1 && keywords == nullptr) {
      return put_until(self, arguments[0], forever);
    }
    const auto [object, block, timeout] =
        parse_arguments("put", {"obj", "block", "timeout"}, 1, 3, {arguments, count, keywords});
    return put_until(self, object, waiting_deadline(block, timeout));
  });
}

PyObject* get(PyObject* self, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords) noexcept {
  return guarded([&] {
    if (count == 0 && keywords == nullptr) {
      return get_until(self, forever);
    }
    const auto [block, timeout, lease] =
        parse_arguments("get", {"block", "timeout", "lease"}, 0, 2, {arguments, count, keywords});
    const deadline until = waiting_deadline(block, timeout);
    if (!is_true(lease)) {
      return get_until(self, until);
    }
    nb::object leased;
    const queue_status status = usable_queue(self).get_on_lease(leased, until);
    return received(status, leased);
  });
}

PyObject* put_nowait(PyObject* self, PyObject* object) noexcept {
  return guarded([&] { return put_until(self, object, no_waiting); });
}

PyObject* get_nowait(PyObject* self, PyObject* /*unused*/) noexcept {
  return guarded([&] { return get_until(self, no_waiting); });
}

// Iteration ends, which is null without an exception, when the queue is shut down and empty.
PyObject* next_item(PyObject* self) noexcept {
  return guarded([&] {
    nb::object object;
    (void)usable_queue(self).get(object, forever);
    return object.release().ptr();
  });
}

PyObject* fileno(PyObject* self, PyObject* /*unused*/) noexcept {
  return guarded([&] {
    byte_queue& queue = instance_of<object_queue>(self).bytes();
    if (queue.start_polling(no_waiting) != queue_status::ok) {
      (void)wait_without_gil([&] { return queue.start_polling(forever); }, queue_status::interrupted);
    }
    return PyLong_FromLong(queue.native_handle());
  });
}

void add_methods(nb::handle type) {
  static std::array<PyMethodDef, 5> methods{{
      {"put", as_method(&put), METH_FASTCALL | METH_KEYWORDS, "put(obj, block=True, timeout=None)"},
      {"get", as_method(&get), METH_FASTCALL | METH_KEYWORDS, "get(block=True, timeout=None, *, lease=False)"},
      {"put_nowait", as_method(&put_nowait), METH_O, "put_nowait(obj)"},
      {"get_nowait", as_method(&get_nowait), METH_NOARGS, "get_nowait()"},
      {"fileno", as_method(&fileno), METH_NOARGS, "fileno()"},
  }};
  add_plain_methods(type, methods);
}

std::size_t bound_of(std::ptrdiff_t given) { return static_cast<std::size_t>(std::max<std::ptrdiff_t>(given, 0)); }

void construct(object_queue* self, std::ptrdiff_t maxsize, std::ptrdiff_t maxbytes, std::string label,
               std::size_t memory_limit, const std::optional<std::vector<int>>& descriptors) {
  if (!descriptors) {
    new (self) object_queue(byte_queue({.capacity = bound_of(maxsize),
                                        .capacity_bytes = bound_of(maxbytes),
                                        .label = std::move(label),
                                        .max_bytes = memory_limit}));
    return;
  }
  if (descriptors->size() != 2 && descriptors->size() != 3) {
    PyErr_Format(
        PyExc_ValueError,
        "%zu descriptors were given; a queue has two, a bounded one three: pass all that its descriptors() gave",
        descriptors->size());
    throw nb::python_error();
  }
  const int room = descriptors->size() == 3 ? descriptors->at(2) : -1;
  new (self) object_queue(byte_queue::attach({descriptors->at(0), descriptors->at(1), room}));
}

bool empty(object_queue& self) {
  // So does multiprocessing's: its thread closes the pipe behind the last item, if there was an item and so a thread.
  if (self.closed() && self.used()) {
    PyErr_SetString(PyExc_OSError, "handle is closed");
    throw nb::python_error();
  }
  return self.bytes().empty();
}

void shutdown(object_queue& self, bool immediate) {
  byte_queue& queue = self.bytes();
  (void)wait_without_gil([&] { return queue.close(forever); }, queue_status::interrupted);
  if (immediate) {
    std::size_t dropped = 0;
    (void)wait_without_gil([&] { return queue.clear(dropped, forever); }, queue_status::interrupted);
    queue.task_done(dropped);
  }
}

int room_fileno(object_queue& self) {
  if (!self.bounded()) {
    const nb::object unsupported = import_attribute("io", "UnsupportedOperation");
    PyErr_SetString(unsupported.ptr(), "a queue without a bound has no room_fileno(): there is always room");
    throw nb::python_error();
  }
  (void)wait_without_gil([&] { return self.bytes().start_polling_room(forever); }, queue_status::interrupted);
  return self.bytes().room_handle();
}

nb::tuple descriptors(object_queue& self) {
  const queue_descriptors all = self.bytes().descriptors();
  return all.room < 0 ? nb::make_tuple(all.segment, all.readiness)
                      : nb::make_tuple(all.segment, all.readiness, all.room);
}

void count_done(object_queue& self) {
  if (!self.bytes().task_done()) {
    throw nb::value_error("task_done() called too many times");
  }
}

void wait_until_done(object_queue& self) {
  (void)wait_without_gil([&] { return self.bytes().wait_until_done(forever); }, queue_status::interrupted);
}

}  // namespace

void bind_queue(nb::module_& module) {
  static std::array<PyType_Slot, 3> slots{{
      {Py_tp_iter, reinterpret_cast<void*>(&PyObject_SelfIter)},
      {Py_tp_iternext, reinterpret_cast<void*>(&next_item)},
      {0, nullptr},
  }};
  nb::class_<object_queue> type(module, "Queue", nb::is_weak_referenceable(), nb::type_slots(slots.data()));
  type.def("__init__", &construct, nb::arg("maxsize") = 0, nb::kw_only(), nb::arg("maxbytes") = 0,
           nb::arg("label") = "", nb::arg("memory_limit") = 0, nb::arg("descriptors") = nb::none())
      .def("qsize", [](object_queue& self) { return self.bytes().size(); })
      .def("empty", &empty)
      .def("full", [](object_queue& self) { return self.bytes().full(); })
      .def("close", &object_queue::close)
      .def("shutdown", &shutdown, nb::arg("immediate") = false)
      .def("room_fileno", &room_fileno)
      .def("descriptors", &descriptors)
      .def("_count_done", &count_done)
      .def("_wait_until_done", &wait_until_done)
      .def_prop_ro("maxsize", [](object_queue& self) { return self.bytes().capacity(); })
      .def_prop_ro("maxbytes", [](object_queue& self) { return self.bytes().capacity_bytes(); })
      .def_prop_ro("is_shutdown", [](object_queue& self) { return self.bytes().closed(); })
      .def_prop_ro("closed", &object_queue::closed);
  add_methods(type);
  bind_queue_batches(type);
  bind_lease(module);
}

}  // namespace shoal::python
