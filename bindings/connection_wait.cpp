#include <Python.h>
#include <nanobind/nanobind.h>
#include <poll.h>

#include <array>
#include <cstddef>
#include <limits>
#include <vector>

#include "bind.hpp"
#include "os/poll.hpp"
#include "plain_method.hpp"
#include "sync/flag.hpp"
#include "waiting.hpp"

namespace nb = nanobind;

namespace shoal::python {
namespace {

using sync::flag;

/// The names that an object is asked for, which live as long as the program.
struct names {
  PyObject* fileno = PyUnicode_InternFromString("fileno");
  PyObject* sentinel = PyUnicode_InternFromString("sentinel");

  static const names& all() {
    static const names only;
    return only;
  }
};

int descriptor_in(PyObject* number) {
  int overflow = 0;
  const long value = PyLong_AsLongAndOverflow(number, &overflow);
  if (overflow != 0 || value < 0 || value > std::numeric_limits<int>::max()) {
    PyErr_Format(PyExc_ValueError, "Invalid file descriptor: %R", number);
    throw nb::python_error();
  }
  return static_cast<int>(value);
}

/// What `object` gives by its fileno(), or else by its sentinel, as processes of the standard library do.
nb::object number_of(PyObject* object) {
  nb::object number = nb::steal(PyObject_CallMethodNoArgs(object, names::all().fileno));
  if (!number.is_valid() && PyErr_ExceptionMatches(PyExc_AttributeError) != 0) {
    PyErr_Clear();
    number = nb::steal(PyObject_GetAttr(object, names::all().sentinel));
  }
  const bool unfit = number.is_valid() ? PyLong_Check(number.ptr()) == 0
                                       : PyErr_ExceptionMatches(PyExc_AttributeError) != 0 ||
                                             PyErr_ExceptionMatches(PyExc_TypeError) != 0;
  if (unfit) {
    PyErr_Clear();
    PyErr_Format(PyExc_ValueError, "Invalid file object: %R", object);
  }
  if (unfit || !number.is_valid()) {
    throw nb::python_error();
  }
  return number;
}

/// The objects of one call, in the order given.
class awaited_objects {
 public:
  explicit awaited_objects(PyObject* iterable) : objects_(nb::steal(PySequence_List(iterable))) {
    if (!objects_.is_valid()) {
      throw nb::python_error();
    }
    // The list is nobody else's, so it stays as it is, whatever a fileno() does.
    const auto count = static_cast<std::size_t>(PyList_GET_SIZE(objects_.ptr()));
    polled_.reserve(count);
    for (std::size_t i = 0; i < count; ++i) {
      PyObject* const one = object(i);
      const int descriptor = PyLong_Check(one) != 0 ? descriptor_in(one) : descriptor_in(number_of(one).ptr());
      polled_.push_back({.fd = descriptor, .events = POLLIN, .revents = 0});
    }
  }

  os::poll_result poll(deadline until) {
    // Few are looked at sooner than the lock is released and acquired again.
    constexpr std::size_t few = 64;
    if (until == no_waiting && polled_.size() <= few) {
      return os::poll_until(polled_, until);
    }
    const released_gil released;
    return os::poll_until(polled_, until);
  }

  /// Those of which poll() has found that they are ready.
  [[nodiscard]] nb::object ready() const {
    nb::object found = nb::steal(PyList_New(0));
    for (std::size_t i = 0; i < polled_.size() && found.is_valid(); ++i) {
      if (polled_[i].revents != 0 && is_confirmed(object(i)) && PyList_Append(found.ptr(), object(i)) != 0) {
        found.reset();
      }
    }
    if (!found.is_valid()) {
      throw nb::python_error();
    }
    return found;
  }

 private:
  [[nodiscard]] PyObject* object(std::size_t i) const {
    return PyList_GET_ITEM(objects_.ptr(), static_cast<Py_ssize_t>(i));
  }

  /// The descriptor of an event may be a moment ahead of the event.
  static bool is_confirmed(PyObject* object) {
    static PyObject* const event_type = nb::type<flag>().ptr();
    return PyObject_TypeCheck(object, reinterpret_cast<PyTypeObject*>(event_type)) == 0 || !nb::inst_ready(object) ||
           nb::inst_ptr<flag>(object)->is_set();
  }

  nb::object objects_;
  std::vector<pollfd> polled_;
};

PyObject* wait(PyObject* /*module*/, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords) noexcept {
  return guarded([&] {
    const auto [object_list, timeout] =
        parse_arguments("wait", {"object_list", "timeout"}, 1, 2, {arguments, count, keywords});
    const deadline until = waiting_deadline(nullptr, timeout);
    awaited_objects awaited(object_list);
    for (;;) {
      switch (awaited.poll(until)) {
        case os::poll_result::ready:
          if (nb::object found = awaited.ready(); PyList_GET_SIZE(found.ptr()) != 0) {
            return found.release().ptr();
          }
          break;
        case os::poll_result::timed_out:
          return PyList_New(0);
        case os::poll_result::interrupted:
          run_signal_handlers();
          break;
      }
    }
  });
}

constexpr const char* wait_doc =
    "wait($module, object_list, timeout=None)\n--\n\n"
    "Wait until an object in `object_list` is ready, and return a list of all that are, in the order given.\n\n"
    "An object is a Process (ready once it has ended), a Queue (not empty, or shut down), an Event (set), a result "
    "of a\n"
    "pool (there), a Connection or socket (readable), or anything else with a method `fileno()`; or a descriptor, "
    "such\n"
    "as Process.sentinel.\n"
    "Different kinds may be mixed. Waits at most `timeout` seconds (None: for ever; 0 or less: not at all) and "
    "returns\n"
    "an empty list if none was ready. No object hides another: whoever looks after all that are returned is fair to\n"
    "all. As in the standard library, a descriptor that is not open counts as ready. Of what several processes wait\n"
    "for, such as an item, another one may be faster.\n\n"
    "Raises ValueError for an object of another kind. Releases the GIL, creates no thread; a signal handler that "
    "raises\n"
    "ends it. It costs the more the more objects there are: for hundreds, again and again, `selectors.EpollSelector`\n"
    "takes the same objects, and wakes up as soon as for one.";

}  // namespace

void bind_connection_wait(nb::module_& module) {
  static std::array<PyMethodDef, 2> functions{{
      {"wait", as_method(&wait), METH_FASTCALL | METH_KEYWORDS, wait_doc},
      {nullptr, nullptr, 0, nullptr},
  }};
  if (PyModule_AddFunctions(module.ptr(), functions.data()) != 0) {
    throw nb::python_error();
  }
}

}  // namespace shoal::python
