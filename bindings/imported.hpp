#pragma once

#include <Python.h>
#include <nanobind/nanobind.h>

namespace shoal::python {

/// @throws nb::python_error  whatever importing the module raises, or AttributeError.
[[nodiscard]] inline nanobind::object import_attribute(const char* module, const char* name) {
  return nanobind::module_::import_(module).attr(name);
}

/// An attribute of a module that is imported when it is first asked for: importing shoal is to import little else.
///
/// Guarded by the GIL, hence no local static with an initializer: while one thread imports, others run, and would wait
/// for the initialization with the GIL in their hands.
class imported {
 public:
  constexpr imported(const char* module, const char* name) noexcept : module_(module), name_(name) {}

  /// @return a borrowed reference, which stays valid. @throws as import_attribute.
  [[nodiscard]] PyObject* get() {
    if (attribute_ == nullptr) {
      nanobind::object found = import_attribute(module_, name_);
      if (attribute_ == nullptr) {
        attribute_ = found.release().ptr();
      }
    }
    return attribute_;
  }

 private:
  const char* module_;
  const char* name_;
  PyObject* attribute_ = nullptr;
};

}  // namespace shoal::python
