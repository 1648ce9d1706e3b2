#pragma once

#include <Python.h>
#include <nanobind/nanobind.h>

#include <string_view>
#include <vector>

// Instances of ordinary classes, which need no pickle: a class is ordinary if pickle would do nothing with an instance
// but write its class's name and its __dict__, and nothing to rebuild it but make an empty one and fill its __dict__.
// Needs the GIL, and runs no Python code unless it says so.
namespace shoal::python {

/// A class by the names that pickle would write for it.
class class_name {
 public:
  class_name() = default;
  /// Both are strings. @throws nb::python_error  they are no valid text.
  class_name(nanobind::object module, nanobind::object qualname);

  [[nodiscard]] std::string_view module() const noexcept { return module_text_; }
  [[nodiscard]] std::string_view qualname() const noexcept { return qualname_text_; }
  [[nodiscard]] PyObject* qualname_object() const noexcept { return qualname_.ptr(); }

  /// The class that goes by this name, as pickle looks for it; a borrowed reference. nullptr if there is none, or
  /// finding it takes an import or other code.
  [[nodiscard]] PyTypeObject* find() const;

  /// Tells audit hooks what pickle tells them when it looks for a class. @throws nb::python_error  what a hook raised.
  void audit_find() const;

 private:
  nanobind::object module_;
  nanobind::object qualname_;
  std::vector<nanobind::object> path_;  // qualname's parts
  std::string_view module_text_;        // owned by module_
  std::string_view qualname_text_;
};

/// How to take an instance of this class apart, or nullptr if pickle has to. Valid until the next call.
[[nodiscard]] const class_name* name_to_encode(PyTypeObject* type);

/// Whether instances of the class can be rebuilt without pickle. As above, but whoever asks has found it by its name.
[[nodiscard]] bool is_ordinary(PyTypeObject* type);

/// The attributes of an instance of an ordinary class: its __dict__, or nothing if pickle has to take it apart.
[[nodiscard]] nanobind::object attributes_of(PyObject* instance);

/// Whether an attribute of this name, set on an instance, changes what pickle does with it.
[[nodiscard]] bool may_steer_pickle(std::string_view attribute);

/// The name of a class as it was received, kept for the next time. Valid until the next call.
/// @throws nb::python_error  it is no valid text.
[[nodiscard]] const class_name& received_class_name(std::string_view module, std::string_view qualname);

/// Rebuilds an instance as pickle does, with pickle: for classes that are not ordinary here, or have to be imported.
/// Runs Python code. `state` is a dict, or None if pickle would have sent no state.
/// @throws nb::python_error  what pickle raises.
[[nodiscard]] nanobind::object rebuild_with_pickle(std::string_view module, std::string_view qualname,
                                                   const nanobind::object& state);

}  // namespace shoal::python
