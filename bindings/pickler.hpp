#pragma once

#include <Python.h>
#include <nanobind/nanobind.h>

#include <utility>
#include <vector>

namespace shoal::python {

/// Passes on a new reference. @throws nb::python_error  there is none: the call that made it has raised.
[[nodiscard]] nanobind::object checked(PyObject* made);

/// Pickles as multiprocessing's ForkingPickler does, reducers registered there included, with one pickler for all
/// objects, since making one costs as much as pickling a small object does. Needs the GIL.
class pickler {
 public:
  static pickler& instance();

  /// @return a bytes object. @throws nb::python_error  whatever pickling the object raises.
  [[nodiscard]] nanobind::object dump(PyObject* object);

  /// @throws nb::python_error  whatever unpickling raises.
  [[nodiscard]] nanobind::object load(const nanobind::object& bytes) const;

 private:
  class use;

  pickler();
  void follow_registrations();

  nanobind::object loads_;
  nanobind::dict registered_;                           // copyreg's reducers, and
  nanobind::dict extra_reducers_;                       // ForkingPickler's own, which take precedence
  std::vector<std::pair<PyObject*, PyObject*>> known_;  // what was in both when they were last merged
  nanobind::list written_;
  nanobind::object pickler_;
  nanobind::object dump_;  // bound methods of `pickler_`
  nanobind::object clear_memo_;
  bool busy_ = false;
};

}  // namespace shoal::python
