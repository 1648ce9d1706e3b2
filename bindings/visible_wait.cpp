#include "visible_wait.hpp"

#include <Python.h>
#include <nanobind/nanobind.h>

#include <cstddef>
#include <exception>
#include <string>
#include <string_view>

#include "sync/lock_survey.hpp"

namespace nb = nanobind;

namespace shoal::python {
namespace {

std::string_view text_of(PyObject* string) noexcept {
  Py_ssize_t size = 0;
  const char* const text = PyUnicode_AsUTF8AndSize(string, &size);
  if (text == nullptr) {
    PyErr_Clear();
    return "?";
  }
  return {text, static_cast<std::size_t>(size)};
}

/// The Python stack of this thread as a traceback shows it, oldest first, without the lines of source, which others can
/// look up. Of one that is too long, the oldest calls are left out.
std::string python_stack(std::size_t most) {
  std::string text;
  nb::object frame = nb::borrow(reinterpret_cast<PyObject*>(PyEval_GetFrame()));
  while (frame.is_valid()) {
    auto* const raw = reinterpret_cast<PyFrameObject*>(frame.ptr());
    const nb::object code = nb::steal(reinterpret_cast<PyObject*>(PyFrame_GetCode(raw)));
    const auto* const fields = reinterpret_cast<PyCodeObject*>(code.ptr());
    std::string line = "File \"";
    line.append(text_of(fields->co_filename)).append("\", line ");
    line.append(std::to_string(PyFrame_GetLineNumber(raw))).append(", in ").append(text_of(fields->co_name));
    line.append("\n");
    if (text.size() + line.size() > most) {
      break;
    }
    text.insert(0, line);
    frame = nb::steal(reinterpret_cast<PyObject*>(PyFrame_GetBack(raw)));
  }
  return text;
}

}  // namespace

void shown_wait::show() noexcept {
  // For people who look. Where there is no memory for it, they see less.
  try {
    sync::show_stack(slot_, python_stack(sync::most_stack_text()));
    stack_shown_ = true;
  } catch (const std::exception&) {
    stack_shown_ = false;
  }
}

void shown_wait::hide() const noexcept {
  try {
    sync::hide_stack(slot_);
  } catch (const std::exception&) {
    return;  // it was there before
  }
}

}  // namespace shoal::python
