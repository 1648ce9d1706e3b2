#include "received_buffer.hpp"

#include <Python.h>

#include <cstring>
#include <utility>

#include "bind.hpp"

namespace nb = nanobind;

namespace shoal::python {
namespace {

int offer_bytes(PyObject* self, Py_buffer* view, int flags) {
  const std::span<std::byte> bytes = nb::inst_ptr<received_buffer>(self)->bytes();
  return PyBuffer_FillInfo(view, self, bytes.data(), static_cast<Py_ssize_t>(bytes.size()), 0, flags);
}

}  // namespace

nb::object received_buffer::take(shoal::borrowed_record&& record) {
  return nb::cast(received_buffer(std::move(record)));
}

nb::object received_buffer::copy(const_bytes bytes) { return nb::cast(received_buffer(bytes)); }

received_buffer::received_buffer(shoal::borrowed_record&& record) : record_(std::move(record)) {
  if (!record_.in_place()) {
    *this = received_buffer(record_.bytes());
    return;
  }
  bytes_ = record_.writable_bytes();
}

received_buffer::received_buffer(const_bytes bytes) {
  void* const memory = ::operator new(record_offset + bytes.size(), std::align_val_t(buffer_alignment));
  copy_.reset(static_cast<std::byte*>(memory));
  bytes_ = {copy_.get() + record_offset, bytes.size()};
  std::memcpy(bytes_.data(), bytes.data(), bytes.size());
}

void received_buffer::aligned_delete::operator()(std::byte* memory) const noexcept {
  ::operator delete(memory, std::align_val_t(buffer_alignment));
}

void bind_received_buffer(nb::module_& module) {
  static PyType_Slot slots[] = {{Py_bf_getbuffer, reinterpret_cast<void*>(&offer_bytes)}, {0, nullptr}};
  nb::class_<received_buffer>(module, "ReceivedBuffer", nb::type_slots(slots));
}

}  // namespace shoal::python
