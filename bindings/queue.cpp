#include "bind.hpp"

#include <Python.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>

#include <array>
#include <optional>
#include <string>
#include <utility>

#include "codec.hpp"
#include "errors.hpp"
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
    if (status == queue_status::timed_out && until != no_waiting) {
      // A signal handler that runs meanwhile may put something as well, with the same encoder.
      const std::vector<std::byte> bytes = encoded.copy();
      status = wait_without_gil([&] { return queue_.push(tag, const_bytes(bytes), until); }, queue_status::interrupted);
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
    if (status == queue_status::timed_out && until != no_waiting) {
      status = wait_without_gil([&] { return queue_.pop(*record, until); }, queue_status::interrupted);
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

PyObject* queue_exception(const char* name) {
  return nb::object(nb::module_::import_("queue").attr(name)).release().ptr();
}

// The four methods that programs call in a loop are plain CPython methods: they parse their arguments in less time than a
// general argument parser takes to look up their names.

/// Arguments `block` and `timeout` behind `first` positional ones, as in `queue.Queue.put` and `get`.
deadline parse_waiting(const char* method, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords,
                       Py_ssize_t first) {
  std::array<PyObject*, 2> given{};  // block, timeout
  if (count > first + 2) {
    PyErr_Format(PyExc_TypeError, "%s() takes at most %zd arguments (%zd given)", method, first + 2, count);
    throw nb::python_error();
  }
  for (Py_ssize_t i = first; i < count; ++i) {
    given[static_cast<std::size_t>(i - first)] = arguments[i];
  }
  for (Py_ssize_t i = 0; keywords != nullptr && i < PyTuple_GET_SIZE(keywords); ++i) {
    PyObject* const name = PyTuple_GET_ITEM(keywords, i);
    const bool is_block = PyUnicode_CompareWithASCIIString(name, "block") == 0;
    const bool is_timeout = PyUnicode_CompareWithASCIIString(name, "timeout") == 0;
    if ((!is_block && !is_timeout) || given[is_block ? 0 : 1] != nullptr) {
      PyErr_Format(PyExc_TypeError,
                   is_block || is_timeout ? "%s() got multiple values for argument '%U'"
                                          : "%s() got an unexpected keyword argument '%U'",
                   method, name);
      throw nb::python_error();
    }
    given[is_block ? 0 : 1] = arguments[count + i];
  }
  const auto [block, timeout] = given;
  if (block != nullptr) {
    const int truth = PyObject_IsTrue(block);
    if (truth < 0) {
      throw nb::python_error();
    }
    if (truth == 0) {
      return no_waiting;
    }
  }
  if (timeout == nullptr || timeout == Py_None) {
    return forever;
  }
  const double seconds = PyFloat_AsDouble(timeout);
  if (seconds == -1.0 && PyErr_Occurred() != nullptr) {
    throw nb::python_error();
  }
  return after(std::chrono::duration<double>(seconds));
}

object_queue& usable_queue(PyObject* self) {
  if (!nb::inst_ready(self)) {
    PyErr_Format(PyExc_RuntimeError, "%s.__init__ did not call super().__init__()", Py_TYPE(self)->tp_name);
    throw nb::python_error();
  }
  auto& queue = *nb::inst_ptr<object_queue>(self);
  if (queue.closed()) {
    PyErr_Format(PyExc_ValueError, "Queue %R is closed", self);
    throw nb::python_error();
  }
  return queue;
}

PyObject* raise_full() {
  static PyObject* const full = queue_exception("Full");
  PyErr_SetNone(full);
  return nullptr;
}

PyObject* raise_empty() {
  static PyObject* const empty = queue_exception("Empty");
  PyErr_SetNone(empty);
  return nullptr;
}

PyObject* put(PyObject* self, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords) noexcept {
  try {
    object_queue& queue = usable_queue(self);
    PyObject* object = count > 0 ? arguments[0] : nullptr;
    deadline until = forever;
    if (object == nullptr && keywords != nullptr && PyTuple_GET_SIZE(keywords) > 0 &&
        PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(keywords, 0), "obj") == 0) {
      object = arguments[0];
      const nb::object rest = nb::steal(PyTuple_GetSlice(keywords, 1, PyTuple_GET_SIZE(keywords)));
      until = parse_waiting("put", arguments + 1, 0, rest.ptr(), 0);
    } else if (object == nullptr) {
      PyErr_SetString(PyExc_TypeError, "put() missing 1 required positional argument: 'obj'");
      return nullptr;
    } else if (count > 1 || keywords != nullptr) {
      until = parse_waiting("put", arguments, count, keywords, 1);
    }
    if (!queue.put(object, until)) {
      return raise_full();
    }
    Py_RETURN_NONE;
  } catch (...) {
    set_error_from_current_exception();
    return nullptr;
  }
}

PyObject* get(PyObject* self, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords) noexcept {
  try {
    object_queue& queue = usable_queue(self);
    const deadline until =
        count > 0 || keywords != nullptr ? parse_waiting("get", arguments, count, keywords, 0) : forever;
    std::optional<nb::object> object = queue.get(until);
    return object ? object->release().ptr() : raise_empty();
  } catch (...) {
    set_error_from_current_exception();
    return nullptr;
  }
}

PyObject* put_nowait(PyObject* self, PyObject* object) noexcept {
  try {
    if (!usable_queue(self).put(object, no_waiting)) {
      return raise_full();
    }
    Py_RETURN_NONE;
  } catch (...) {
    set_error_from_current_exception();
    return nullptr;
  }
}

PyObject* get_nowait(PyObject* self, PyObject* /*unused*/) noexcept {
  try {
    std::optional<nb::object> object = usable_queue(self).get(no_waiting);
    return object ? object->release().ptr() : raise_empty();
  } catch (...) {
    set_error_from_current_exception();
    return nullptr;
  }
}

template <class Function>
PyCFunction as_method(Function function) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

void add_methods(nb::handle type) {
  static std::array<PyMethodDef, 4> methods{{
      {"put", as_method(&put), METH_FASTCALL | METH_KEYWORDS, "put(obj, block=True, timeout=None)"},
      {"get", as_method(&get), METH_FASTCALL | METH_KEYWORDS, "get(block=True, timeout=None)"},
      {"put_nowait", as_method(&put_nowait), METH_O, "put_nowait(obj)"},
      {"get_nowait", as_method(&get_nowait), METH_NOARGS, "get_nowait()"},
  }};
  for (PyMethodDef& method : methods) {
    const nb::object descriptor =
        nb::steal(PyDescr_NewMethod(reinterpret_cast<PyTypeObject*>(type.ptr()), &method));
    nb::setattr(type, method.ml_name, descriptor);
  }
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
      .def("fileno", [](object_queue& self) { return self.queue().native_handle(); })
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
