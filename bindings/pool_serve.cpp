// The worker's end of a pool's queue.

#include <Python.h>
#include <nanobind/nanobind.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "codec.hpp"
#include "errors.hpp"
#include "lent.hpp"
#include "os/forks.hpp"
#include "pickler.hpp"
#include "pool_queue.hpp"
#include "shoal/error.hpp"

namespace nb = nanobind;

namespace shoal::python {
namespace {

// Copying as much takes so long that other threads of the worker should run meanwhile.
constexpr std::size_t long_copy = 64 << 10;

// With its traceback, which before 3.12 is not part of a raised exception.
nb::object exception_of(nb::python_error& raised) {
#if PY_VERSION_HEX < 0x030C0000
  if (raised.traceback().is_valid()) {
    PyException_SetTraceback(raised.value().ptr(), raised.traceback().ptr());
  }
#endif
  return nb::borrow(raised.value());
}

nb::object called_with(const nb::object& function, nb::handle item) {
  return checked(PyObject_CallOneArg(function.ptr(), item.ptr()));
}

nb::object called_with_all(const nb::object& function, nb::handle items) {
  const nb::object arguments = checked(PySequence_Tuple(items.ptr()));
  return checked(PyObject_Call(function.ptr(), arguments.ptr(), nullptr));
}

template <class Call>
nb::object mapped(nb::handle items, Call call) {
  const nb::list given = nb::borrow<nb::list>(items);
  const std::size_t count = nb::len(given);
  nb::object results = checked(PyList_New(static_cast<Py_ssize_t>(count)));
  for (std::size_t i = 0; i < count; ++i) {
    const nb::object item = given[i];
    PyList_SET_ITEM(results.ptr(), static_cast<Py_ssize_t>(i), call(item).release().ptr());
  }
  return results;
}

}  // namespace

void pool_queue::serve(std::size_t slot, std::optional<std::size_t> most, nb::handle report, nb::handle unsendable,
                       nb::handle left_behind) {
  const std::uint64_t generation = os::generation();
  taken_task task;
  for (std::size_t count = 0; !most || count < *most; ++count) {
    queue_status status = queue_.take(slot, task, no_waiting);
    if (goes_on(status, forever)) {
      status = wait_for_task(slot, task);
    }
    if (status != queue_status::ok) {
      return;
    }
    const std::uint64_t ticket = task.ticket();
    nb::object result;
    outcome_note note = outcome_note::returned;
    try {
      result = call(slot, task);
    } catch (nb::python_error& raised) {
      if (!raised.matches(PyExc_Exception)) {
        throw;
      }
      result = report(exception_of(raised));
      note = outcome_note::raised;
    } catch (const shoal::error&) {
      set_error_from_current_exception();
      nb::python_error raised;
      result = report(exception_of(raised));
      note = outcome_note::raised;
    }
    task.record().reset();
    if (os::generation() != generation) {
      left_behind();
    }
    nb::object trouble;
    try {
      send(slot, ticket, result, note);
    } catch (nb::python_error& raised) {
      if (!raised.matches(PyExc_Exception)) {
        throw;
      }
      trouble = nb::borrow(raised.value());
    } catch (const std::bad_alloc&) {
      PyErr_SetString(PyExc_MemoryError, "there is no shared memory left for the task's result");
      const nb::python_error raised;
      trouble = nb::borrow(raised.value());
    }
    if (trouble.is_valid()) {
      send(slot, ticket, unsendable(trouble, result), outcome_note::raised);
    }
  }
}

queue_status pool_queue::wait_for_task(std::size_t slot, taken_task& task) {
  try {
    return wait_for_queue([&](deadline limit) { return queue_.take(slot, task, limit); }, forever);
  } catch (nb::python_error& raised) {
    if (!raised.matches(PyExc_KeyboardInterrupt)) {
      throw;
    }
  }
  // Ctrl-C while idle: a traceback from each worker would tell nothing.
  PyErr_SetObject(PyExc_SystemExit, nb::int_(130).ptr());
  throw nb::python_error();
}

nb::object pool_queue::call(std::size_t slot, taken_task& task) {
  const const_bytes all = task.bytes();
  task_trailer trailer{};
  if (all.size() < sizeof trailer) {
    throw error(errc::corrupt_record, "a task of " + std::to_string(all.size()) + " bytes came out of a pool's queue");
  }
  std::memcpy(&trailer, all.data() + all.size() - sizeof trailer, sizeof trailer);
  if (trailer.function_size > all.size() - sizeof trailer) {
    throw error(errc::corrupt_record, "a task of " + std::to_string(all.size()) +
                                          " bytes came out of a pool's queue whose function has " +
                                          std::to_string(trailer.function_size));
  }
  const bool timed = (trailer.flags & task_trailer::timed) != 0;
  if (timed) {
    queue_.tell_begin(slot);
  }
  const std::size_t size = all.size() - sizeof trailer - trailer.function_size;
  const nb::object function =
      received_function(all.subspan(size, trailer.function_size), (trailer.flags & task_trailer::keep_function) != 0);
  const nb::object sent = task.record().in_place() ? decode_borrowed(std::move(task.record()), size)
                                                   : decode_object(task.tag(), all.first(size));
  if (timed) {
    queue_.tell_begin(slot);  // again: what reading it took, say imports in a new worker, is not the function's time
  }
  switch (trailer.kind) {
    case call_kind::call:
      return checked(PyObject_Call(function.ptr(), nb::object(sent[0]).ptr(), nb::object(sent[1]).ptr()));
    case call_kind::item:
      return called_with(function, sent);
    case call_kind::star:
      return called_with_all(function, sent);
    case call_kind::map:
      return mapped(sent, [&](nb::handle item) { return called_with(function, item); });
    case call_kind::star_map:
      return mapped(sent, [&](nb::handle item) { return called_with_all(function, item); });
  }
  throw error(errc::corrupt_record, "a task of an unknown kind came out of a pool's queue");
}

nb::object pool_queue::received_function(const_bytes pickled, bool may_keep) {
  if (may_keep && kept_function_.is_valid() && std::ranges::equal(pickled, kept_pickle_)) {
    return kept_function_;
  }
  nb::object function = unpickle(checked(PyBytes_FromStringAndSize(reinterpret_cast<const char*>(pickled.data()),
                                                                   static_cast<Py_ssize_t>(pickled.size()))));
  if (may_keep) {
    kept_pickle_.assign(pickled.begin(), pickled.end());
    kept_function_ = function;
  }
  return function;
}

void pool_queue::send(std::size_t slot, std::uint64_t ticket, nb::handle object, outcome_note note) {
  const lent<encoded_object> encoded;
  const nb::object kept = encoded->encode(object.ptr());
  const auto finish = [&] {
    queue_.finish(slot, ticket, encoded->tag(), encoded->parts(), static_cast<std::uint16_t>(note));
  };
  if (encoded->size() < long_copy) {
    finish();
  } else {
    const released_gil released;
    finish();
  }
}

}  // namespace shoal::python
