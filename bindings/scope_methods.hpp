#pragma once

#include <Python.h>
#include <nanobind/nanobind.h>

// What `with` calls: __enter__ and __exit__ of locks.
//
// Until Python 3.14 the interpreter makes an object of each of the two at every `with`, with a method as CPython makes
// it one that the garbage collector has to know. That costs more than to take a lock and release it. The objects here
// are used again, and the collector need not know them: they are gone before it could run.
namespace shoal::python {

/// What __enter__ or __exit__ of an object does: returns a new reference, or null with an exception set. `arguments`
/// are the three of __exit__.
using scope_action = PyObject* (*)(PyObject* self, PyObject* const* arguments) noexcept;

/// Adds both to a type. @throws nb::python_error  no memory.
void add_scope_methods(nanobind::handle type, scope_action enter, scope_action leave);

}  // namespace shoal::python
