#include <Python.h>
#include <nanobind/nanobind.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "codec.hpp"
#include "lent.hpp"
#include "object_queue.hpp"
#include "pickler.hpp"
#include "plain_method.hpp"
#include "shoal/byte_queue.hpp"
#include "shoal/error.hpp"

namespace nb = nanobind;

// put_many and get_many.
namespace shoal::python {
namespace {

// So many items go into the queue, or are taken out of it, together.
constexpr std::size_t most_items = 256;

/// Encoded records that wait to be pushed together, in a buffer that does not move.
class outgoing_batch {
 public:
  outgoing_batch() {
    bytes_.reserve(capacity);
    contents_.reserve(most_items);
    records_.reserve(most_items);
  }

  void clear() {
    bytes_.clear();
    contents_.clear();
    records_.clear();
  }

  [[nodiscard]] bool has_room_for(std::size_t size) const {
    return records_.size() < most_items && size <= capacity - bytes_.size();
  }

  void append(const encoded_object& encoded) {
    const std::size_t begin = bytes_.size();
    encoded.append_to(bytes_);
    contents_.push_back(const_bytes(bytes_).subspan(begin));
    records_.push_back({encoded.tag(), {&contents_.back(), 1}});
  }

  [[nodiscard]] std::size_t size_in_bytes() const { return bytes_.size(); }
  [[nodiscard]] std::span<const outgoing_record> records() const { return records_; }

 private:
  static constexpr std::size_t capacity = 256 * 1024;

  std::vector<std::byte> bytes_;
  std::vector<const_bytes> contents_;
  std::vector<outgoing_record> records_;
};

/// Puts the items of one put_many.
class batch_sender {
 public:
  /// @param sent  zero; from now on the number of items that are in the queue.
  batch_sender(object_queue& queue, deadline until, std::size_t& sent) : queue_(queue), until_(until), sent_(sent) {
    start_batch();
  }

  /// @return ok, timed_out (it stayed full) or closed. @throws nb::python_error  what iterating or pickling raises.
  queue_status send_all(const nb::object& iterator) {
    try {
      while (const nb::object item = next_of(iterator)) {
        if (const queue_status status = add(item); status != queue_status::ok) {
          return status;
        }
      }
    } catch (...) {
      // Those before the item that failed need not be lost with it.
      send_batch_if_possible();
      throw;
    }
    return send_batch();
  }

 private:
  static nb::object next_of(const nb::object& iterator) {
    nb::object item = nb::steal(PyIter_Next(iterator.ptr()));
    if (!item.is_valid() && PyErr_Occurred() != nullptr) {
      throw nb::python_error();
    }
    return item;
  }

  queue_status add(const nb::object& item) {
    const lent<encoded_object> encoded;
    const nb::object kept = encoded->encode(item.ptr());
    const std::size_t size = encoded->size();
    const bool alone = size >= byte_queue::large;
    if (alone || !batch_->has_room_for(size)) {
      if (const queue_status status = send_batch(); status != queue_status::ok) {
        return status;
      }
    }
    if (!alone) {
      batch_->append(*encoded);
      return queue_status::ok;
    }
    const queue_status status = queue_.push(*encoded, until_);
    if (status == queue_status::ok) {
      ++sent_;
      start_batch();
    }
    return status;
  }

  void start_batch() {
    batch_->clear();
    sent_before_ = sent_;
  }

  [[nodiscard]] std::span<const outgoing_record> left_of_batch() const {
    return batch_->records().subspan(sent_ - sent_before_);
  }

  queue_status send_batch() {
    if (left_of_batch().empty()) {
      return queue_status::ok;
    }
    const auto push = [&](deadline limit) { return queue_.bytes().push_many(left_of_batch(), sent_, limit); };
    const queue_status status = queue_.push_and_wait(push, batch_->size_in_bytes(), until_);
    if (status == queue_status::ok) {
      start_batch();
    }
    return status;
  }

  void send_batch_if_possible() noexcept {
    try {
      (void)queue_.bytes().push_many(left_of_batch(), sent_, no_waiting);
    } catch (...) {
      // No memory. What is being reported already says more, and sent_ is true.
    }
  }

  object_queue& queue_;
  deadline until_;
  std::size_t& sent_;
  std::size_t sent_before_ = 0;  // before the batch was begun
  const lent<outgoing_batch> batch_;
};

/// Gives the exception that is being raised one more attribute, if it lets us.
void set_on_raised(const char* name, const nb::object& value) {
  nb::python_error raised;
  if (PyObject_SetAttrString(raised.value().ptr(), name, value.ptr()) != 0) {
    PyErr_Clear();
  }
  raised.restore();
}

PyObject* put_many(PyObject* self, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords) noexcept {
  std::size_t sent = 0;
  PyObject* const result = guarded([&]() -> PyObject* {
    const auto [items, block, timeout] =
        parse_arguments("put_many", {"iterable", "block", "timeout"}, 1, 3, {arguments, count, keywords});
    object_queue& queue = usable_queue(self);
    const deadline until = waiting_deadline(block, timeout);
    switch (batch_sender(queue, until, sent).send_all(checked(PyObject_GetIter(items)))) {
      case queue_status::ok:
        Py_RETURN_NONE;
      case queue_status::closed:
        return raise_put_after_shutdown();
      default:
        return raise_full();
    }
  });
  if (result != nullptr) {
    return result;
  }
  return guarded([&]() -> PyObject* {
    set_on_raised("put_count", nb::int_(sent));
    return nullptr;
  });
}

/// Takes the items of one get_many.
class batch_receiver {
 public:
  batch_receiver(object_queue& queue, std::size_t most) : queue_(queue), most_(most) {}

  [[nodiscard]] nb::list& items() noexcept { return items_; }

  /// @return ok if anything was taken, timed_out or closed. @throws nb::python_error  what unpickling an item raises,
  /// with the other items as its attribute `items`.
  queue_status receive(deadline until) {
    const lent<record_batch> batch;
    const auto pop = [&](deadline limit) {
      batch->clear();
      return queue_.bytes().pop_many(*batch, std::min(most_ - taken_, most_items), limit);
    };
    const queue_status status = attempt_and_wait(pop, until);
    bool more = status == queue_status::ok;
    while (more) {
      decode(*batch);
      more = taken_ < most_ && !failure_;
      keep_failure_of([&] { more = more && pop(no_waiting) == queue_status::ok; });
    }
    if (failure_) {
      failure_->restore();
      set_on_raised("items", items_);
      throw nb::python_error();
    }
    return status;
  }

 private:
  // All of the batch, whatever fails: it is out of the queue.
  void decode(const record_batch& batch) {
    for (std::size_t i = 0; i < batch.size(); ++i) {
      keep_failure_of([&] { items_.append(decode_object(batch[i].tag, batch[i].bytes)); });
    }
    taken_ += batch.size();
  }

  template <class Action>
  void keep_failure_of(Action action) {
    try {
      action();
    } catch (...) {
      set_error_from_current_exception();
      nb::python_error raised;
      if (!failure_) {
        failure_.emplace(std::move(raised));
      }
    }
  }

  object_queue& queue_;
  std::size_t most_;
  std::size_t taken_ = 0;
  nb::list items_;
  std::optional<nb::python_error> failure_;  // the first one
};

std::size_t positive(const char* name, PyObject* number) {
  const Py_ssize_t value = PyNumber_AsSsize_t(number, PyExc_OverflowError);
  if (value == -1 && PyErr_Occurred() != nullptr) {
    throw nb::python_error();
  }
  if (value < 1) {
    PyErr_Format(PyExc_ValueError, "%s is %zd, expected at least 1", name, value);
    throw nb::python_error();
  }
  return static_cast<std::size_t>(value);
}

PyObject* get_many(PyObject* self, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords) noexcept {
  return guarded([&]() -> PyObject* {
    const auto [max_items, timeout] =
        parse_arguments("get_many", {"max_items", "timeout"}, 1, 2, {arguments, count, keywords});
    const std::size_t most = positive("max_items", max_items);
    const deadline until = waiting_deadline(nullptr, timeout);
    batch_receiver receiver(usable_queue(self), most);
    if (receiver.receive(until) == queue_status::closed) {
      return raise_get_after_shutdown();
    }
    return receiver.items().release().ptr();
  });
}

}  // namespace

void bind_queue_batches(nb::handle queue_type) {
  static std::array<PyMethodDef, 2> methods{{
      {"put_many", as_method(&put_many), METH_FASTCALL | METH_KEYWORDS, "put_many(iterable, block=True, timeout=None)"},
      {"get_many", as_method(&get_many), METH_FASTCALL | METH_KEYWORDS, "get_many(max_items, timeout=None)"},
  }};
  add_plain_methods(queue_type, methods);
}

}  // namespace shoal::python
