#include "pickler.hpp"

#include <functional>
#include <memory>

#include "imported.hpp"

namespace nb = nanobind;

namespace shoal::python {
namespace {

/// Something with a `write` that collects what is written.
nb::object sink_into(const nb::list& written) {
  nb::object sink = import_attribute("types", "SimpleNamespace")();
  sink.attr("write") = written.attr("append");
  return sink;
}

// Called by pickle for each buffer. @return whether it is to be part of the pickle.
PyObject* take_buffer(PyObject* taken, PyObject* buffer) {
  const Py_buffer* const view = PyPickleBuffer_GetBuffer(buffer);
  if (view == nullptr) {
    return nullptr;
  }
  if (view->len < pickler::out_of_band) {
    Py_RETURN_TRUE;
  }
  if (PyList_Append(taken, buffer) != 0) {
    return nullptr;
  }
  Py_RETURN_FALSE;
}

nb::object buffer_callback_into(const nb::list& taken) {
  static PyMethodDef definition{"take_buffer", &take_buffer, METH_O, nullptr};
  return checked(PyCFunction_New(&definition, taken.ptr()));
}

nb::object copy_of(const nb::list& collected) {
  return checked(PyList_GetSlice(collected.ptr(), 0, PyList_GET_SIZE(collected.ptr())));
}

}  // namespace

nb::object checked(PyObject* made) {
  if (made == nullptr) {
    throw nb::python_error();
  }
  return nb::steal(made);
}

/// While one object is pickled. Whether that succeeds or not, nothing written or remembered reaches the next one.
class pickler::use {
 public:
  explicit use(pickler& owner) : owner_(owner) { owner_.busy_ = true; }
  use(const use&) = delete;
  use& operator=(const use&) = delete;
  ~use() {
    PyList_SetSlice(owner_.written_.ptr(), 0, PyList_GET_SIZE(owner_.written_.ptr()), nullptr);
    PyList_SetSlice(owner_.buffers_.ptr(), 0, PyList_GET_SIZE(owner_.buffers_.ptr()), nullptr);
    (void)owner_.clear_memo_();
    owner_.busy_ = false;
  }

 private:
  pickler& owner_;
};

pickler::pickler()
    : registered_(nb::borrow<nb::dict>(import_attribute("copyreg", "dispatch_table"))),
      extra_reducers_(nb::borrow<nb::dict>(
          import_attribute("shoal._stdlib", "reduction").attr("ForkingPickler").attr("_extra_reducers"))),
      pickler_(import_attribute("_pickle", "Pickler")(sink_into(written_), 5, true, buffer_callback_into(buffers_))),
      dump_(pickler_.attr("dump")),
      clear_memo_(pickler_.attr("clear_memo")) {}

pickler& pickler::instance() {
  if (only_ == nullptr) {
    auto made = std::unique_ptr<pickler>(new pickler());
    if (only_ == nullptr) {  // no other thread was faster while this one imported
      only_ = made.release();
    }
  }
  return *only_;
}

pickled pickler::dump(PyObject* object) {
  if (busy_) {
    return pickler().dump(object);  // called by a reducer, or by another thread while one runs
  }
  follow_registrations();
  const use in_use(*this);
  (void)checked(PyObject_CallOneArg(dump_.ptr(), object));
  // One piece, unless the object has large parts that pickle hands over as they are.
  return {.bytes = PyList_GET_SIZE(written_.ptr()) == 1 ? nb::object(written_[0]) : copy_of(written_),
          .buffers = PyList_GET_SIZE(buffers_.ptr()) == 0 ? nb::object() : copy_of(buffers_)};
}

nb::object unpickle(const nb::object& data, const nb::object& buffers) {
  static constinit imported loads("_pickle", "loads");
  if (!buffers.is_valid()) {
    return checked(PyObject_CallOneArg(loads.get(), data.ptr()));
  }
  return nb::handle(loads.get())(data, nb::arg("buffers") = buffers);
}

bool pickler::has_reducer(PyTypeObject* type) const {
  const auto has = [this](PyTypeObject* registered) {
    auto* const key = reinterpret_cast<PyObject*>(registered);
    return PyDict_Contains(registered_.ptr(), key) != 0 || PyDict_Contains(extra_reducers_.ptr(), key) != 0;
  };
  return has(type) || (Py_TYPE(type) != &PyType_Type && has(Py_TYPE(type)));
}

// Both tables of reducers may change at any time. Looking through them costs less than merging them anew.
void pickler::follow_registrations() {
  std::vector<std::pair<PyObject*, PyObject*>> registered;
  registered.reserve(known_.size());
  for (const nb::dict& table : {std::cref(registered_), std::cref(extra_reducers_)}) {
    Py_ssize_t at = 0;
    PyObject* type = nullptr;
    PyObject* reducer = nullptr;
    while (PyDict_Next(table.ptr(), &at, &type, &reducer) != 0) {
      registered.emplace_back(type, reducer);
    }
  }
  if (registered == known_) {
    return;
  }
  const nb::object merged = checked(PyDict_Copy(registered_.ptr()));
  if (PyDict_Update(merged.ptr(), extra_reducers_.ptr()) != 0) {
    throw nb::python_error();
  }
  pickler_.attr("dispatch_table") = merged;  // keeps what `known_` points to alive
  known_ = std::move(registered);
}

}  // namespace shoal::python
