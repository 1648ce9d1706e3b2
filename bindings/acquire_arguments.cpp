#include "acquire_arguments.hpp"

#include <Python.h>

#include <array>
#include <cmath>
#include <cstddef>

namespace nb = nanobind;

namespace shoal::python {
namespace {

constexpr std::array<const char*, 3> parameter_names{"block", "timeout", "raises"};
constexpr std::size_t most_positional = 2;

using arguments = std::array<PyObject*, parameter_names.size()>;

/// The same as parse_arguments, for names that are interned, as those in a program are. @return false if one is not, or
/// the call is wrong.
bool parse_interned(const call_arguments& call, std::size_t known, arguments& given) {
  static const std::array<PyObject*, parameter_names.size()> interned{PyUnicode_InternFromString(parameter_names[0]),
                                                                      PyUnicode_InternFromString(parameter_names[1]),
                                                                      PyUnicode_InternFromString(parameter_names[2])};
  const auto positional = static_cast<std::size_t>(call.positional);
  if (positional > most_positional) {
    return false;
  }
  for (std::size_t i = 0; i < positional; ++i) {
    given[i] = call.values[i];
  }
  const Py_ssize_t named = call.names == nullptr ? 0 : PyTuple_GET_SIZE(call.names);
  for (Py_ssize_t i = 0; i < named; ++i) {
    PyObject* const name = PyTuple_GET_ITEM(call.names, i);
    std::size_t at = 0;
    while (at < known && interned[at] != name) {
      ++at;
    }
    if (at == known || given[at] != nullptr) {
      return false;
    }
    given[at] = call.values[call.positional + i];
  }
  return true;
}

}  // namespace

acquire_arguments::acquire_arguments(const call_arguments& call, bool has_raises) {
  const std::size_t known = has_raises ? 3 : 2;
  arguments given{};
  if (!parse_interned(call, known, given)) {
    given = {};
    parse_arguments({"acquire", std::span(parameter_names).first(known), 0, most_positional}, call,
                    std::span(given).first(known));
  }
  const auto [block, timeout, raises] = given;
  blocks_ = block == nullptr || is_true(block);
  raises_ = is_true(raises);
  if (timeout != nullptr && timeout != Py_None) {
    timeout_ = PyFloat_AsDouble(timeout);
    if (timeout_ == -1.0 && PyErr_Occurred() != nullptr) {
      throw nb::python_error();
    }
    if (std::isnan(timeout_)) {
      (void)deadline_of(timeout_);  // which raises
    }
  }
}

}  // namespace shoal::python
