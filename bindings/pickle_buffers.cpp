#include "pickle_buffers.hpp"

#include <Python.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>

#include "received_buffer.hpp"
#include "shoal/error.hpp"

namespace nb = nanobind;

namespace shoal::python {
namespace {

using word = std::uint64_t;

// The words of a head before the buffers' sizes.
constexpr std::size_t fixed_words = 2;

// Where in a record a buffer begins that cannot begin before `position`.
std::size_t aligned(std::size_t position) {
  return (record_offset + position + buffer_alignment - 1) / buffer_alignment * buffer_alignment - record_offset;
}

void store_word(std::vector<std::byte>& head, std::size_t index, word value) {
  std::memcpy(head.data() + index * sizeof value, &value, sizeof value);
}

std::size_t size_of(const std::vector<const_bytes>& parts) {
  std::size_t size = 0;
  for (const const_bytes part : parts) {
    size += part.size();
  }
  return size;
}

[[noreturn]] void corrupt(const std::string& what) {
  throw error(errc::corrupt_record, "not a whole Python pickle with buffers: " + what);
}

/// Reads a record from its front.
class reader {
 public:
  explicit reader(const_bytes record) : record_(record) {}

  word next_word() {
    word value = 0;
    const std::size_t begin = advance(sizeof value);
    std::memcpy(&value, record_.data() + begin, sizeof value);
    return value;
  }

  // Returns where the next `size` bytes begin.
  std::size_t advance(std::size_t size) {
    if (size > record_.size() - position_) {
      corrupt("its head announces " + std::to_string(size) + " bytes more where " +
              std::to_string(record_.size() - position_) + " are left");
    }
    const std::size_t begin = position_;
    position_ += size;
    return begin;
  }

  void align() { (void)advance(aligned(position_) - position_); }

  [[nodiscard]] std::size_t left() const { return record_.size() - position_; }

 private:
  const_bytes record_;
  std::size_t position_ = 0;
};

nb::object part_of(const nb::object& view, std::size_t begin, std::size_t size) {
  return view[nb::slice(nb::int_(begin), nb::int_(begin + size), nb::none())];
}

}  // namespace

nb::object append_pickle(const nb::object& pickle_bytes, std::vector<const_bytes>& parts) {
  const auto append = [&](const void* bytes, Py_ssize_t size) {
    parts.emplace_back(static_cast<const std::byte*>(bytes), static_cast<std::size_t>(size));
  };
  if (PyBytes_CheckExact(pickle_bytes.ptr())) {
    append(PyBytes_AS_STRING(pickle_bytes.ptr()), PyBytes_GET_SIZE(pickle_bytes.ptr()));
    return pickle_bytes;
  }
  nb::list views;  // as long as they are there, none of the pieces can be resized
  for (const nb::handle piece : pickle_bytes) {
    const nb::object view = checked(PyMemoryView_FromObject(piece.ptr()));
    append(PyMemoryView_GET_BUFFER(view.ptr())->buf, PyMemoryView_GET_BUFFER(view.ptr())->len);
    views.append(view);
  }
  return views;
}

nb::object pack(const pickled& object, std::vector<std::byte>& head, std::vector<const_bytes>& parts) {
  static constexpr std::array<std::byte, buffer_alignment> padding{};

  nb::object pickle = append_pickle(object.bytes, parts);
  const auto count = static_cast<std::size_t>(nb::len(object.buffers));
  const std::size_t pickle_size = size_of(parts);
  head.resize((fixed_words + count) * sizeof(word));
  store_word(head, 0, count);
  store_word(head, 1, pickle_size);
  std::size_t index = fixed_words;
  std::size_t position = head.size() + pickle_size;
  for (const nb::handle buffer : object.buffers) {
    const Py_buffer* const view = PyPickleBuffer_GetBuffer(buffer.ptr());
    if (view == nullptr) {
      throw nb::python_error();  // a reducer has released it after all
    }
    const auto size = static_cast<std::size_t>(view->len);
    store_word(head, index++, size);
    const std::size_t begin = aligned(position);
    parts.emplace_back(padding.data(), begin - position);
    parts.emplace_back(static_cast<const std::byte*>(view->buf), size);
    position = begin + size;
  }
  parts.insert(parts.begin(), head);
  return nb::make_tuple(std::move(pickle), object.buffers);
}

nb::object unpack(const nb::object& buffer) {
  reader record(nb::inst_ptr<received_buffer>(buffer)->bytes());
  const word count = record.next_word();
  const word pickle_size = record.next_word();
  if (count > record.left() / sizeof(word)) {
    corrupt("its head announces " + std::to_string(count) + " buffers");
  }
  std::vector<word> sizes(count);
  for (word& size : sizes) {
    size = record.next_word();
  }
  const nb::object all = checked(PyMemoryView_FromObject(buffer.ptr()));
  const nb::object pickle = part_of(all, record.advance(pickle_size), pickle_size);
  nb::list buffers;
  for (const word size : sizes) {
    record.align();
    buffers.append(part_of(all, record.advance(size), size));
  }
  return unpickle(pickle, buffers);
}

}  // namespace shoal::python
