#pragma once

#include <Python.h>
#include <nanobind/nanobind.h>

#include <utility>
#include <vector>

namespace shoal::python {

/// Passes on a new reference. @throws nb::python_error  there is none: the call that made it has raised.
[[nodiscard]] nanobind::object checked(PyObject* made);

/// A pickle, and the buffers it refers to, in their order.
struct pickled {
  nanobind::object bytes;    // a bytes object; or a list of objects that offer their bytes, one behind the other
  nanobind::object buffers;  // a list of PickleBuffer objects, each over contiguous memory; or nothing
};

/// `data` offers its bytes, which nothing refers to afterwards; `buffers` holds one object for each that was left out
/// of the pickle. Needs the GIL.
/// @throws nb::python_error  whatever unpickling raises.
[[nodiscard]] nanobind::object unpickle(const nanobind::object& data, const nanobind::object& buffers = {});

/// Pickles as multiprocessing's ForkingPickler does, reducers registered there included, with one pickler for all
/// objects, since making one costs as much as pickling a small object does. Needs the GIL.
class pickler {
 public:
  /// Buffers of at least so many bytes are not part of the pickle.
  static constexpr Py_ssize_t out_of_band = 16 * 1024;

  /// Whether there is an instance yet. The first call of `instance` imports what has reducers registered with it.
  [[nodiscard]] static bool is_ready() noexcept { return only_ != nullptr; }
  static pickler& instance();

  /// @throws nb::python_error  whatever pickling the object raises.
  [[nodiscard]] pickled dump(PyObject* object);

  /// Whether somebody has registered a reducer for exactly this type, or for classes of its metaclass.
  [[nodiscard]] bool has_reducer(PyTypeObject* type) const;

 private:
  class use;

  pickler();
  void follow_registrations();

  static inline pickler* only_ = nullptr;  // never released

  nanobind::dict registered_;                           // copyreg's reducers, and
  nanobind::dict extra_reducers_;                       // ForkingPickler's own, which take precedence
  std::vector<std::pair<PyObject*, PyObject*>> known_;  // what was in both when they were last merged
  nanobind::list written_;
  nanobind::list buffers_;
  nanobind::object pickler_;
  nanobind::object dump_;  // bound methods of `pickler_`
  nanobind::object clear_memo_;
  bool busy_ = false;
};

}  // namespace shoal::python
