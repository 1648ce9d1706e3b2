#include "errors.hpp"

#include "bind.hpp"

#include <Python.h>

#include <new>
#include <stdexcept>
#include <string>

#include "shoal/error.hpp"

namespace nb = nanobind;

namespace shoal::python {
namespace {

// The classes that shoal/errors.py defines; never released, as the module itself.
struct error_types {
  PyObject* segment_error = PyExc_OSError;
  PyObject* corrupt_record = PyExc_ValueError;
  PyObject* process_error = PyExc_RuntimeError;
  PyObject* shut_down = PyExc_RuntimeError;
};

error_types& types() {
  static error_types instance;
  return instance;
}

// Importing shoal.errors sets the types. Where that is not possible, for want of a descriptor say, there are Python's.
error_types& imported_types() {
  if (types().segment_error == PyExc_OSError) {
    PyObject* const errors = PyImport_ImportModule("shoal.errors");
    if (errors == nullptr) {
      PyErr_Clear();
    }
    Py_XDECREF(errors);
  }
  return types();
}

PyObject* type_of(const shoal::error& failure) {
  if (failure.code().category() != shoal_category()) {
    return imported_types().process_error;
  }
  switch (static_cast<errc>(failure.code().value())) {
    case errc::not_a_segment:
    case errc::layout_mismatch:
    case errc::wrong_kind:
    case errc::truncated_segment:
      return imported_types().segment_error;
    case errc::corrupt_record:
    case errc::wrong_type:
      return imported_types().corrupt_record;
    case errc::closed:
    case errc::unknown_function:
    case errc::broken_barrier:
      break;
  }
  return imported_types().process_error;
}

void set_error_of(const std::system_error& failure) {
  if (failure.code().category() == std::generic_category() || failure.code().category() == std::system_category()) {
    // OSError(errno, text) chooses the subclass, such as PermissionError, by itself.
    // Made here: before Python 3.12 an exception that is left to be made passes by `except PermissionError`.
    const nb::object arguments = nb::make_tuple(failure.code().value(), failure.what());
    if (const nb::object made = nb::steal(PyObject_Call(PyExc_OSError, arguments.ptr(), nullptr)); made.is_valid()) {
      PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(made.ptr())), made.ptr());
    }
  } else {
    PyErr_SetString(imported_types().process_error, failure.what());
  }
}

void translate(const std::exception_ptr& caught, void* /*unused*/) {
  try {
    std::rethrow_exception(caught);
  } catch (const shoal::error& failure) {
    PyErr_SetString(type_of(failure), failure.what());
  } catch (const std::system_error& failure) {
    set_error_of(failure);
  }
}

void set_error_types(const nb::dict& given) {
  const auto take = [&](const char* name) { return nb::object(given[name]).release().ptr(); };
  types() = {take("SegmentError"), take("CorruptRecord"), take("ProcessError"), take("ShutDown")};
}

}  // namespace

void set_error_from_current_exception() noexcept {
  try {
    throw;
  } catch (nb::python_error& raised) {
    raised.restore();
  } catch (const shoal::error& failure) {
    PyErr_SetString(type_of(failure), failure.what());
  } catch (const std::invalid_argument& failure) {
    PyErr_SetString(PyExc_ValueError, failure.what());
  } catch (const std::bad_alloc&) {
    PyErr_SetString(PyExc_MemoryError, "no shared memory left for this object; what is there already is not affected");
  } catch (const std::system_error& failure) {
    set_error_of(failure);
  } catch (const std::exception& failure) {
    PyErr_SetString(PyExc_RuntimeError, failure.what());
  } catch (...) {
    PyErr_SetString(PyExc_SystemError, "an exception of unknown type in shoal._core");
  }
}

PyObject* shut_down_exception() noexcept { return imported_types().shut_down; }

void run_signal_handlers() {
  if (PyErr_CheckSignals() != 0) {
    throw nb::python_error();
  }
}

void bind_errors(nb::module_& module) {
  nb::register_exception_translator(&translate);
  module.def("set_error_types", &set_error_types, nb::arg("types"));
}

}  // namespace shoal::python
