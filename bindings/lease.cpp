#include "lease.hpp"

#include <Python.h>

#include <array>
#include <utility>

#include "codec.hpp"
#include "object_queue.hpp"
#include "pickler.hpp"
#include "waiting.hpp"

namespace nb = nanobind;

namespace shoal::python {
namespace {

/// shoal._core.Lease: an object that was taken on lease. Destroyed, it gives the object back, as shoal::lease does.
class object_lease {
 public:
  object_lease(nb::object item, lease taken) : item_(std::move(item)), lease_(std::move(taken)) {}

  [[nodiscard]] nb::object item() const { return item_; }
  [[nodiscard]] bool active() const noexcept { return lease_.active(); }

  void acknowledge() {
    check_active();
    if (!lease_.acknowledge()) {
      raise_ended();
    }
  }

  void give_back() {
    check_active();
    lease mine = std::move(lease_);  // not for other threads while this one waits
    try {
      (void)attempt_and_wait([&](deadline limit) { return mine.give_back(limit); }, forever);
    } catch (...) {
      lease_ = std::move(mine);
      throw;
    }
  }

  void exit(bool raised) {
    if (!active()) {
      return;
    }
    if (raised) {
      give_back();
    } else {
      acknowledge();
    }
  }

  int traverse(visitproc visit, void* arg) const {
    Py_VISIT(nb::handle(item_).ptr());
    return 0;
  }
  void clear() { item_.reset(); }

 private:
  [[noreturn]] static void raise_ended() {
    throw nb::value_error("this lease has ended: its item was acknowledged or given back before");
  }
  void check_active() const {
    if (!active()) {
      raise_ended();
    }
  }

  nb::object item_;
  lease lease_;
};

int traverse(PyObject* self, visitproc visit, void* arg) noexcept {
  Py_VISIT(Py_TYPE(self));
  return nb::inst_ready(self) ? nb::inst_ptr<object_lease>(self)->traverse(visit, arg) : 0;
}

int clear(PyObject* self) noexcept {
  if (nb::inst_ready(self)) {
    nb::inst_ptr<object_lease>(self)->clear();
  }
  return 0;
}

}  // namespace

nb::object make_lease(lease taken) {
  nb::object item;
  try {
    item = decode_object(taken.tag(), taken.bytes());
  } catch (...) {
    taken.acknowledge();
    throw;
  }
  return nb::cast(object_lease(std::move(item), std::move(taken)));
}

void bind_lease(nb::module_& module) {
  // The item may lead back to its lease.
  static std::array<PyType_Slot, 3> slots{{
      {Py_tp_traverse, reinterpret_cast<void*>(&traverse)},
      {Py_tp_clear, reinterpret_cast<void*>(&clear)},
      {0, nullptr},
  }};
  nb::class_<object_lease> type(module, "Lease", nb::is_weak_referenceable(), nb::type_slots(slots.data()));
  type.def_prop_ro("item", &object_lease::item)
      .def_prop_ro("active", &object_lease::active)
      .def("acknowledge", &object_lease::acknowledge)
      .def("give_back", &object_lease::give_back)
      .def("__enter__", [](nb::handle self) { return nb::borrow(self); })
      .def(
          "__exit__",
          [](object_lease& self, nb::handle raised, nb::handle /*unused*/, nb::handle /*unused*/) {
            self.exit(!raised.is_none());
          },
          nb::arg("type").none(), nb::arg("value").none(), nb::arg("traceback").none());
  // Subscripting is for annotations: Lease[int].
  type.attr("__class_getitem__") = checked(PyClassMethod_New(reinterpret_cast<PyObject*>(&Py_GenericAliasType)));
}

}  // namespace shoal::python
