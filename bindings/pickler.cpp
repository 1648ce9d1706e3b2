#include "pickler.hpp"

#include <functional>

namespace nb = nanobind;

namespace shoal::python {
namespace {

nb::object attribute_of(const char* module, const char* name) { return nb::module_::import_(module).attr(name); }

/// Something with a `write` that collects what is written.
nb::object sink_into(const nb::list& written) {
  nb::object sink = attribute_of("types", "SimpleNamespace")();
  sink.attr("write") = written.attr("append");
  return sink;
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
    (void)owner_.clear_memo_();
    owner_.busy_ = false;
  }

 private:
  pickler& owner_;
};

pickler::pickler()
    : loads_(attribute_of("pickle", "loads")),
      registered_(nb::borrow<nb::dict>(attribute_of("copyreg", "dispatch_table"))),
      extra_reducers_(
          nb::borrow<nb::dict>(attribute_of("multiprocessing.reduction", "ForkingPickler").attr("_extra_reducers"))),
      pickler_(attribute_of("pickle", "Pickler")(sink_into(written_), 5)),
      dump_(pickler_.attr("dump")),
      clear_memo_(pickler_.attr("clear_memo")) {}

pickler& pickler::instance() {
  static auto* const only = new pickler();  // outlives the interpreter's own teardown
  return *only;
}

nb::object pickler::dump(PyObject* object) {
  if (busy_) {
    return pickler().dump(object);  // called by a reducer, or by another thread while one runs
  }
  follow_registrations();
  const use in_use(*this);
  (void)checked(PyObject_CallOneArg(dump_.ptr(), object));
  // One piece, unless the object has large parts that pickle hands over as they are.
  return PyList_GET_SIZE(written_.ptr()) == 1 ? nb::object(written_[0]) : nb::bytes("").attr("join")(written_);
}

nb::object pickler::load(const nb::object& bytes) const {
  return checked(PyObject_CallOneArg(loads_.ptr(), bytes.ptr()));
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
