#include "shared_block.hpp"

#include <Python.h>
#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>

#include <cstdint>
#include <string>

#include "bind.hpp"
#include "shoal/error.hpp"

namespace nb = nanobind;

namespace shoal::python {
namespace {

using location = std::pair<int, std::uint32_t>;

int offer_bytes(PyObject* self, Py_buffer* view, int flags) {
  if (!nb::inst_ready(self)) {
    PyErr_SetString(PyExc_BufferError, "SharedBlock.__init__ was not called");
    return -1;
  }
  const shared_block& block = *nb::inst_ptr<shared_block>(self);
  return PyBuffer_FillInfo(view, self, block.data(), static_cast<Py_ssize_t>(block.size()), 0, flags);
}

}  // namespace

shared_block::shared_block(std::size_t size, slot_location place)
    : size_(size), slot_(memory::arena_slot::attach(place, memory::slot_kind::block)) {
  if (slot_.bytes() < size) {
    throw error(errc::truncated_segment, "a shared block of " + std::to_string(size) +
                                             " bytes was asked for; at that place is one of " +
                                             std::to_string(slot_.bytes()) + ". Was the right handle passed?");
  }
}

void bind_shared_block(nb::module_& module) {
  static PyType_Slot slots[] = {{Py_bf_getbuffer, reinterpret_cast<void*>(&offer_bytes)}, {0, nullptr}};
  nb::class_<shared_block>(module, "SharedBlock", nb::type_slots(slots), nb::is_weak_referenceable())
      .def(
          "__init__",
          [](shared_block* self, std::size_t size, const std::optional<location>& attach) {
            attach ? new (self) shared_block(size, {attach->first, attach->second}) : new (self) shared_block(size);
          },
          nb::arg("size"), nb::kw_only(), nb::arg("attach") = nb::none())
      .def("__len__", &shared_block::size)
      .def("location", [](shared_block& self) {
        const slot_location place = self.location();
        return location(place.arena, place.index);
      });
}

}  // namespace shoal::python
