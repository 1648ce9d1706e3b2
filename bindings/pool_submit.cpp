// The owner's end of a pool's queue: how calls become tasks.

#include <Python.h>
#include <nanobind/nanobind.h>

#include <cstring>
#include <limits>
#include <new>
#include <utility>

#include "codec.hpp"
#include "errors.hpp"
#include "imported.hpp"
#include "lent.hpp"
#include "pickler.hpp"
#include "pool_queue.hpp"
#include "shoal/error.hpp"

namespace nb = nanobind;

namespace shoal::python {
namespace {

constexpr std::size_t most_tasks = 64;        // are sent together,
constexpr std::size_t most_bytes = 64 << 10;  // or as many as have so many bytes

// Copying as much takes so long that other threads should run meanwhile.
constexpr std::size_t long_copy = 256 << 10;

const_bytes bytes_of(const nb::object& bytes) {
  return {reinterpret_cast<const std::byte*>(PyBytes_AS_STRING(bytes.ptr())),
          static_cast<std::size_t>(PyBytes_GET_SIZE(bytes.ptr()))};
}

const_bytes bytes_of(const task_trailer& trailer) { return std::as_bytes(std::span(&trailer, 1)); }

// Whether pickle sends no more of it than its name.
bool travels_by_name(PyObject* function) {
  const bool named = PyFunction_Check(function) || PyType_CheckExact(function) ||
                     (PyCFunction_CheckExact(function) &&
                      (PyCFunction_GET_SELF(function) == nullptr || PyModule_Check(PyCFunction_GET_SELF(function))));
  return named && !pickler::instance().has_reducer(Py_TYPE(function));
}

// The exception being handled, if it is an Exception; others go on.
nb::object current_exception(nb::python_error& raised) {
  if (!raised.matches(PyExc_Exception)) {
    throw;  // NOLINT(misc-throw-by-value-catch-by-reference): the one being handled
  }
  return nb::borrow(raised.value());
}

nb::object next_of(const nb::object& iterator) {
  nb::object item = nb::steal(PyIter_Next(iterator.ptr()));
  if (!item.is_valid() && PyErr_Occurred() != nullptr) {
    throw nb::python_error();
  }
  return item;
}

// The next task's items, at most `count`; null: there are none.
nb::object next_chunk(const nb::object& iterator, std::size_t count) {
  nb::object first = next_of(iterator);
  if (!first.is_valid()) {
    return first;
  }
  nb::list chunk;
  chunk.append(std::move(first));
  for (std::size_t i = 1; i < count; ++i) {
    const nb::object item = next_of(iterator);
    if (!item.is_valid()) {
      break;
    }
    chunk.append(item);
  }
  return chunk;
}

}  // namespace

/// Tasks that wait to be sent together, in a buffer that does not move.
struct pool_queue::ticketed_batch {
  ticketed_batch() {
    bytes.reserve(most_bytes);
    contents.reserve(most_tasks);
  }

  [[nodiscard]] bool has_room_for(std::size_t size) const {
    return records.size() < most_tasks && size <= bytes.capacity() - bytes.size();
  }

  void clear() {
    bytes.clear();
    contents.clear();
    records.clear();
    entries.clear();
  }

  // Copies.
  void append(encoding tag, std::span<const const_bytes> parts) {
    const std::size_t begin = bytes.size();
    for (const const_bytes part : parts) {
      bytes.insert(bytes.end(), part.begin(), part.end());
    }
    contents.push_back(const_bytes(bytes).subspan(begin));
    records.push_back({tag, {&contents.back(), 1}});
  }

  std::vector<std::byte> bytes;
  std::vector<const_bytes> contents;
  std::vector<outgoing_record> records;
  std::vector<task_entry> entries;
};

/// Arguments as bytes: as the codec has them, or by value if they have functions in them that cannot be sent by name.
/// Meant to be reused.
class pool_queue::sent_arguments {
 public:
  explicit sent_arguments(const pool_queue& queue) : queue_(queue) {}

  /// @throws nb::python_error  they cannot be pickled.
  void encode(nb::handle arguments) {
    by_value_.reset();
    try {
      kept_ = encoded_->encode(arguments.ptr());
    } catch (nb::python_error& raised) {
      by_value_ = queue_.crew().attr("_by_value")(arguments, current_exception(raised));
    }
  }

  [[nodiscard]] encoding tag() const { return by_value_.is_valid() ? encoding::pickle : encoded_->tag(); }
  [[nodiscard]] std::size_t size() const {
    return by_value_.is_valid() ? bytes_of(by_value_).size() : encoded_->size();
  }

  /// Where the bytes are, until the next encode().
  void append_to(std::vector<const_bytes>& parts) const {
    if (by_value_.is_valid()) {
      parts.push_back(bytes_of(by_value_));
    } else {
      parts.insert(parts.end(), encoded_->parts().begin(), encoded_->parts().end());
    }
  }

 private:
  const pool_queue& queue_;
  lent<encoded_object> encoded_;
  nb::object kept_;
  nb::object by_value_;
};

sent_function pool_queue::function_to_send(nb::handle function) {
  if (last_function_.is(function)) {
    return {last_function_bytes_, true};
  }
  const nb::object sendable = crew().attr("_sendable")(function);
  try {
    const pickled made = pickler::instance().dump(sendable.ptr());
    if (PyBytes_CheckExact(made.bytes.ptr()) && !made.buffers.is_valid()) {
      const bool by_name = sendable.is(function) && travels_by_name(function.ptr());
      if (by_name) {
        last_function_ = nb::borrow(function);
        last_function_bytes_ = made.bytes;
      }
      return {made.bytes, by_name};
    }
    // It has large buffers: one pickle with everything in it.
    return {import_attribute("pickle", "dumps")(sendable, 5), false};
  } catch (nb::python_error& raised) {
    return {crew().attr("_by_value")(function, current_exception(raised)), false};
  }
}

// Sends tasks of one job. Their entries come first: an outcome may arrive at any time.
// @throws  as work_queue::submit_many; then `entries` are those that were not sent.
void pool_queue::push(std::vector<outgoing_record>& records, std::vector<task_entry>& entries) {
  std::unique_lock lock(submitting_, std::try_to_lock);
  if (!lock) {
    const released_gil released;
    lock.lock();
  }
  if (entries_.empty()) {
    first_entry_ = queue_.next_ticket();
  }
  std::size_t size = 0;
  for (task_entry& each : entries) {
    size += each.size;
    entries_.push_back(std::move(each));
  }
  bytes_in_flight_ += size;
  tasks_in_flight_ += entries.size();
  std::size_t submitted = 0;
  try {
    queue_status status = size < long_copy ? queue_.submit_many(records, submitted, no_waiting) : queue_status::busy;
    while (status != queue_status::ok) {
      const released_gil released;
      status = queue_.submit_many(std::span(records).subspan(submitted), submitted, forever);
    }
  } catch (...) {
    entries.resize(records.size() - submitted);
    for (std::size_t i = entries.size(); i-- > 0;) {
      entries[i] = std::move(entries_.back());
      bytes_in_flight_ -= entries[i].size;
      --tasks_in_flight_;
      entries_.pop_back();
    }
    throw;
  }
}

// Sends a batch. What keeps tasks from being sent is their outcome. @return whether all were sent.
bool pool_queue::push_or_fail(ticketed_batch& batch) {
  nb::object error;
  try {
    push(batch.records, batch.entries);
    batch.clear();
    return true;
  } catch (const std::bad_alloc&) {
    error = nb::steal(PyObject_CallFunction(PyExc_MemoryError, "s", "there is no shared memory left for the task"));
    if (!error.is_valid()) {
      throw nb::python_error();
    }
  } catch (const std::exception&) {
    set_error_from_current_exception();
    const nb::python_error raised;
    error = nb::borrow(raised.value());
  }
  const std::vector<task_entry> failed = std::exchange(batch.entries, {});
  batch.clear();
  for (const task_entry& each : failed) {
    deliver_to(each.job, *each.delivered_to, each.index, false, error);
  }
  return false;
}

void pool_queue::submit(const nb::object& job, std::size_t index, call_kind kind, nb::handle function,
                        nb::handle arguments) {
  pool_job& of = job_of(job);
  const sent_function sent = function_to_send(function);
  sent_arguments sending(*this);
  sending.encode(arguments);
  const task_trailer trailer = trailer_for(of, sent, kind);
  std::vector<const_bytes> parts;
  sending.append_to(parts);
  parts.push_back(bytes_of(sent.bytes));
  parts.push_back(bytes_of(trailer));
  const std::size_t size = sending.size() + bytes_of(sent.bytes).size() + sizeof trailer;
  open(job);
  if (of.has_ended()) {
    return;  // refused, or aborted
  }
  std::vector<outgoing_record> records{{sending.tag(), parts}};
  std::vector<task_entry> entries;
  entries.push_back({job, &of, index, size});
  push(records, entries);
}

task_trailer pool_queue::trailer_for(const pool_job& job, const sent_function& function, call_kind kind) {
  std::uint8_t flags = 0;
  if (function.by_reference) {
    flags |= task_trailer::keep_function;
  }
  if (job.timeout > 0) {
    flags |= task_trailer::timed;
  }
  const std::size_t size = bytes_of(function.bytes).size();
  if (size > std::numeric_limits<std::uint32_t>::max()) {
    PyErr_Format(PyExc_OverflowError, "a function whose pickle has %zu bytes cannot be sent to a worker", size);
    throw nb::python_error();
  }
  return {.function_size = static_cast<std::uint32_t>(size), .kind = kind, .flags = flags, .unused = 0};
}

submitted_items pool_queue::submit_items(const nb::object& job, call_kind kind, nb::handle function,
                                         const nb::object& items, bool at_once) {
  pool_job& of = job_of(job);
  if (of.is_submitting) {
    return submitted_items::elsewhere;
  }
  // Whoever finds no result asks: that is not to pickle the function each time.
  if (of.has_ended() || of.has_all_items()) {
    return submitted_items::all;
  }
  if (of.room() == 0 && of.notice_room()) {
    return submitted_items::for_now;
  }
  struct submission {
    explicit submission(pool_job& job) : of(job) { of.is_submitting = true; }
    submission(const submission&) = delete;
    submission& operator=(const submission&) = delete;
    ~submission() { of.is_submitting = false; }
    pool_job& of;
  };
  const submission mine(of);
  return submit_items_alone(job, of, kind, function, items, at_once);
}

submitted_items pool_queue::submit_items_alone(const nb::object& job, pool_job& of, call_kind kind, nb::handle function,
                                               const nb::object& items, bool at_once) {
  open(job);
  sent_function sent;
  task_trailer trailer{};
  nb::object function_error;
  try {
    sent = function_to_send(function);
    trailer = trailer_for(of, sent, kind);
  } catch (nb::python_error& raised) {
    if (!at_once && !raised.matches(PyExc_Exception)) {
      throw;
    }
    function_error = nb::borrow(raised.value());
  }
  sent_arguments sending(*this);
  std::vector<const_bytes> parts;
  ticketed_batch batch;
  bool some_failed = false;
  const auto send = [&] {
    if (!batch.records.empty() && !push_or_fail(batch)) {
      some_failed = true;
    }
  };
  const auto finish = [&](submitted_items why) {
    send();
    tell();
    if (std::exchange(some_failed, false)) {
      wake_receiver();
    }
    return why;
  };
  const auto end_of_items = [&](auto... error) {
    send();
    of.end_of_items(std::move(error)...);
    some_failed = true;  // who waits for it may have nothing else to wait for
    after_delivery(job, of);
    return finish(submitted_items::all);
  };
  const auto fail = [&](const nb::object& error) {
    some_failed = true;
    deliver_to(job, of, of.submitted++, false, error);
    if (at_once) {
      finish(submitted_items::all);
    }
  };
  try {
    for (;;) {
      if (of.has_ended() || of.has_all_items()) {
        return finish(submitted_items::all);
      }
      if (of.room() == 0) {
        return of.notice_room() ? finish(submitted_items::for_now) : end_of_items();
      }
      if (is_full()) {
        return finish(submitted_items::full);
      }
      nb::object chunk;
      try {
        chunk = of.chunk_size() == 1 ? next_of(items) : next_chunk(items, of.chunk_size());
      } catch (nb::python_error& raised) {
        end_of_items(nb::object(nb::borrow(raised.value())));
        if (!at_once && !raised.matches(PyExc_Exception)) {
          throw;
        }
        return submitted_items::all;
      }
      if (!chunk.is_valid()) {
        return end_of_items();
      }
      if (function_error.is_valid()) {
        fail(function_error);
        continue;
      }
      try {
        sending.encode(chunk);
      } catch (nb::python_error& raised) {
        fail(nb::borrow(raised.value()));
        if (!at_once && !raised.matches(PyExc_Exception)) {
          throw;
        }
        continue;
      }
      parts.clear();
      sending.append_to(parts);
      parts.push_back(bytes_of(sent.bytes));
      parts.push_back(bytes_of(trailer));
      const std::size_t size = sending.size() + bytes_of(sent.bytes).size() + sizeof trailer;
      const bool alone = size > most_bytes / 4;
      if (alone || !batch.has_room_for(size)) {
        send();
      }
      if (alone) {
        batch.records.push_back({sending.tag(), parts});  // from where they are
      } else {
        batch.append(sending.tag(), parts);
      }
      batch.entries.push_back({job, &of, of.submitted++, size});
      if (alone || at_once) {
        send();
      }
    }
  } catch (...) {
    const std::exception_ptr trouble = std::current_exception();
    send();  // what was made into tasks is as good as submitted
    if (some_failed) {
      wake_receiver();
    }
    std::rethrow_exception(trouble);
  }
}

}  // namespace shoal::python
