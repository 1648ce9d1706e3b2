#include "bind.hpp"

#include <Python.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>

#include <array>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "codec.hpp"
#include "errors.hpp"
#include "plain_method.hpp"
#include "shoal/byte_queue.hpp"
#include "shoal/error.hpp"
#include "waiting.hpp"

namespace nb = nanobind;

namespace shoal::python {
namespace {

/// shoal._core.Queue: a byte_queue of Python objects, and whether this handle was closed.
class object_queue {
 public:
  explicit object_queue(byte_queue queue) : queue_(std::move(queue)) {}

  byte_queue& queue() noexcept { return queue_; }
  [[nodiscard]] bool closed() const noexcept { return closed_; }
  void close() noexcept { closed_ = true; }

  /// @return false if the queue stayed full.
  bool put(PyObject* object, deadline until) {
    encoded_object& encoded = shared_encoder();
    const nb::object kept = encoded.encode(object);
    const encoding tag = encoded.tag();
    queue_status status = queue_.push(tag, encoded.parts(), no_waiting);
    if (goes_on(status, until)) {
      // A signal handler that runs meanwhile may put something as well, with the same encoder.
      const std::vector<std::byte> bytes = encoded.copy();
      const auto push = [&](deadline limit) { return queue_.push(tag, const_bytes(bytes), limit); };
      do {
        status = wait_for_queue(push, until);
        // A queue without bound is never full: somebody is at work there still.
      } while (status == queue_status::timed_out && until == no_waiting && queue_.capacity() == 0);
    }
    if (status == queue_status::closed) {
      throw error(errc::closed, "put on a queue that another process has closed to new items");
    }
    return status == queue_status::ok;
  }

  /// @return nothing if the queue stayed empty.
  std::optional<nb::object> get(deadline until) {
    borrowed_record record;
    queue_status status = queue_.pop(*record, no_waiting);
    if (goes_on(status, until)) {
      status = wait_for_queue([&](deadline limit) { return queue_.pop(*record, limit); }, until);
    }
    if (status == queue_status::closed) {
      throw error(errc::closed, "get from a queue that was closed to new items and is empty");
    }
    if (status != queue_status::ok) {
      return std::nullopt;
    }
    return decode_object(record->tag(), record->bytes());
  }

 private:
  byte_queue queue_;
  bool closed_ = false;
};

PyObject* full_exception() {
  static PyObject* const full = nb::object(nb::module_::import_("queue").attr("Full")).release().ptr();
  return full;
}

PyObject* empty_exception() {
  static PyObject* const empty = nb::object(nb::module_::import_("queue").attr("Empty")).release().ptr();
  return empty;
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

PyObject* put_until(PyObject* self, PyObject* object, deadline until) {
  if (!usable_queue(self).put(object, until)) {
    return raise_full();
  }
  Py_RETURN_NONE;
}

PyObject* get_until(PyObject* self, deadline until) {
  std::optional<nb::object> object = usable_queue(self).get(until);
  return object ? object->release().ptr() : raise_empty();
}

PyObject* put(PyObject* self, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords) noexcept {
  return guarded([&]() -> PyObject* {
    if (count > 0) {
      return put_until(
          self, arguments[0],
          count > 1 || keywords != nullptr ? parse_waiting("put", arguments, count, keywords, 1) : forever);
    }
    PyObject* object = nullptr;
    nb::list others;  // the keywords but `obj`, and what they are given
    std::vector<PyObject*> given;
    for (Py_ssize_t i = 0; keywords != nullptr && i < PyTuple_GET_SIZE(keywords); ++i) {
      if (PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(keywords, i), "obj") == 0) {
        object = arguments[i];
      } else {
        others.append(nb::handle(PyTuple_GET_ITEM(keywords, i)));
        given.push_back(arguments[i]);
      }
    }
    if (object != nullptr) {
      return put_until(self, object, parse_waiting("put", given.data(), 0, nb::tuple(others).ptr(), 0));
    }
    PyErr_SetString(PyExc_TypeError, "put() missing 1 required positional argument: 'obj'");
    return nullptr;
  });
}

PyObject* get(PyObject* self, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords) noexcept {
  return guarded([&] {
    return get_until(self,
                     count > 0 || keywords != nullptr ? parse_waiting("get", arguments, count, keywords, 0) : forever);
  });
}

PyObject* put_nowait(PyObject* self, PyObject* object) noexcept {
  return guarded([&] { return put_until(self, object, no_waiting); });
}

PyObject* get_nowait(PyObject* self, PyObject* /*unused*/) noexcept {
  return guarded([&] { return get_until(self, no_waiting); });
}

void add_methods(nb::handle type) {
  static std::array<PyMethodDef, 4> methods{{
      {"put", as_method(&put), METH_FASTCALL | METH_KEYWORDS, "put(obj, block=True, timeout=None)"},
      {"get", as_method(&get), METH_FASTCALL | METH_KEYWORDS, "get(block=True, timeout=None)"},
      {"put_nowait", as_method(&put_nowait), METH_O, "put_nowait(obj)"},
      {"get_nowait", as_method(&get_nowait), METH_NOARGS, "get_nowait()"},
  }};
  add_plain_methods(type, methods);
}

void construct(object_queue* self, std::ptrdiff_t maxsize, std::string label, std::size_t max_bytes,
               std::optional<std::pair<int, int>> descriptors) {
  if (descriptors) {
    new (self) object_queue(byte_queue::attach({descriptors->first, descriptors->second}));
  } else {
    const std::size_t capacity = maxsize < 0 ? 0 : static_cast<std::size_t>(maxsize);
    new (self) object_queue(byte_queue({.capacity = capacity, .label = std::move(label), .max_bytes = max_bytes}));
  }
}

}  // namespace

void bind_queue(nb::module_& module) {
  (void)empty_exception();  // imports, which must not happen for the first time in the middle of a get
  (void)full_exception();
  nb::class_<object_queue> type(module, "Queue", nb::is_weak_referenceable());
  type.def("__init__", &construct, nb::arg("maxsize") = 0, nb::kw_only(), nb::arg("label") = "",
           nb::arg("max_bytes") = 0, nb::arg("descriptors") = nb::none())
      .def("qsize", [](object_queue& self) { return self.queue().size(); })
      .def("empty", [](object_queue& self) { return self.queue().empty(); })
      .def("full",
           [](object_queue& self) {
             const std::size_t capacity = self.queue().capacity();
             return capacity != 0 && self.queue().size() >= capacity;
           })
      .def("close", &object_queue::close)
      .def("fileno",
           [](object_queue& self) {
             (void)wait_without_gil([&] { return self.queue().start_polling(forever); }, queue_status::interrupted);
             return self.queue().descriptors().readiness;
           })
      .def("descriptors",
           [](object_queue& self) {
             const queue_descriptors both = self.queue().descriptors();
             return std::pair(both.segment, both.readiness);
           })
      .def_prop_ro("maxsize", [](object_queue& self) { return self.queue().capacity(); })
      .def_prop_ro("closed", &object_queue::closed);
  add_methods(type);
}

}  // namespace shoal::python
