#include "pool_job.hpp"

#include <nanobind/stl/string.h>

#include <algorithm>
#include <array>
#include <stdexcept>
#include <utility>

#include "bind.hpp"
#include "plain_method.hpp"

namespace nb = nanobind;

namespace shoal::python {
namespace {

// The exception in `error`, raised.
[[noreturn]] void raise(const nb::object& error) {
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.ptr())), error.ptr());
  throw nb::python_error();
}

int traverse(PyObject* self, visitproc visit, void* arg) {
#if PY_VERSION_HEX >= 0x03090000
  Py_VISIT(Py_TYPE(self));
#endif
  return nb::inst_ready(self) ? nb::inst_ptr<pool_job>(self)->traverse(visit, arg) : 0;
}

int clear(PyObject* self) {
  if (nb::inst_ready(self)) {
    nb::inst_ptr<pool_job>(self)->clear();
  }
  return 0;
}

PyObject* next_result(PyObject* self) noexcept {
  return guarded([&] {
    auto& results = instance_of<pool_results>(self);
    std::optional<pool_results::item> taken;
    while (!(taken = results.take())) {
      if (results.has_ended()) {
        return static_cast<PyObject*>(nullptr);  // the end of the iteration
      }
      nb::handle(self).attr("_wait_for_more")();
    }
    if (results.tasks_consumed() >= results.next_notice) {
      const std::size_t noticed = std::exchange(results.next_notice, pool_results::unlimited);
      try {
        nb::handle(self).attr("_consumed")();
      } catch (...) {  // of a signal handler, probably
        results.next_notice = noticed;
        results.put_back(*std::move(taken));
        throw;
      }
    }
    if (!taken->ok) {
      raise(taken->value);
    }
    return taken->value.release().ptr();
  });
}

}  // namespace

pool_job& job_of(nb::handle object) {
  if (!nb::isinstance<pool_job>(object)) {
    PyErr_Format(PyExc_TypeError, "a job of a pool was expected, got %R", object.ptr());
    throw nb::python_error();
  }
  return instance_of<pool_job>(object.ptr());
}

int pool_job::descriptor() {
  if (!readiness_) {
    readiness_.emplace();
    show_readiness();
  }
  if (!readiness_->is_mine()) {
    throw std::runtime_error("this result belongs to another process, of which this one is a fork; poll it there");
  }
  return readiness_->get();
}

pool_result::pool_result(nb::object pool, nb::object crew, nb::object method, nb::object function_name,
                         std::size_t chunk_size, Py_ssize_t length)
    : pool_job(std::move(pool), std::move(crew), std::move(method), std::move(function_name), chunk_size),
      is_list_(length >= 0) {
  if (is_list_) {
    length_ = static_cast<std::size_t>(length);
    value_ = nb::steal(PyList_New(length));
    for (Py_ssize_t i = 0; i < length; ++i) {
      PyList_SET_ITEM(value_.ptr(), i, nb::object(nb::none()).release().ptr());
    }
    tasks_ = left_ = length_ / chunk_size + (length_ % chunk_size != 0 ? 1 : 0);
    if (left_ == 0) {
      finish();
    }
  }
}

std::size_t pool_result::deliver(std::size_t index, bool ok, nb::object value) {
  if (has_ended()) {
    return 0;
  }
  const std::size_t items =
      is_list_ ? std::min(chunk_size(), length_ - index * chunk_size()) : 1;  // in the last chunk there may be fewer
  if (!is_list_ || (!ok && ok_)) {
    value_ = std::move(value);
  } else if (ok && ok_) {
    const auto begin = static_cast<Py_ssize_t>(index * chunk_size());
    if (chunk_size() == 1) {
      PyList_SetItem(value_.ptr(), begin, value.release().ptr());
    } else {
      if (PyList_SetSlice(value_.ptr(), begin, begin + static_cast<Py_ssize_t>(items), value.ptr()) != 0) {
        nb::python_error raised;  // no memory, which is this task's failure
        ok = false;
        value_ = nb::borrow(raised.value());
      }
    }
  }
  ok_ = ok_ && ok;
  if (--left_ == 0) {
    finish();
  }
  return items;
}

bool pool_result::abort(nb::object error) {
  const bool failed = fail(std::move(error));
  ready_ = ready_ || failed;
  show_readiness();
  return failed;
}

bool pool_result::fail(nb::object error) {
  if (has_ended()) {
    return false;
  }
  ok_ = false;
  const nb::object unfinished = std::exchange(value_, std::move(error));
  finish();
  return true;
}

void pool_result::finish() {
  ready_ = !called_back;
  end();
  show_readiness();
}

void pool_result::end_of_items() {
  has_last_item();
  if (room() != 0 && !has_ended()) {
    PyErr_Format(PyExc_RuntimeError, "%U: items were removed from the iterable before all had become tasks",
                 method().ptr());
    nb::python_error raised;
    fail(nb::borrow(raised.value()));
  }
}

void pool_result::end_of_items(nb::object error) {
  has_last_item();
  fail(std::move(error));
}

pool_results::pool_results(nb::object pool, nb::object crew, nb::object method, nb::object function_name,
                           std::size_t chunk_size, bool ordered)
    : pool_job(std::move(pool), std::move(crew), std::move(method), std::move(function_name), chunk_size),
      ordered_(ordered) {}

std::size_t pool_results::deliver(std::size_t index, bool ok, nb::object value) {
  if (has_ended()) {
    return 0;
  }
  const std::size_t items = ok && chunk_size() != 1 ? nb::len(value) : chunk_size();
  if (!ordered_ || index == done_) {
    hand_out(ok, std::move(value));
    for (auto found = waiting_.find(done_); ordered_ && found != waiting_.end(); found = waiting_.find(done_)) {
      item next = std::move(found->second);
      waiting_.erase(found);
      hand_out(next.ok, std::move(next.value));
    }
  } else {
    waiting_.emplace(index, item{std::move(value), ok});
  }
  end_if_complete();
  show_readiness();
  return items;
}

void pool_results::hand_out(bool ok, nb::object value) {
  ++done_;
  if (!ok || chunk_size() == 1) {
    items_.push_back({std::move(value), ok});
    return;
  }
  const nb::list values = nb::borrow<nb::list>(value);
  const std::size_t count = nb::len(values);
  for (std::size_t i = 0; i < count; ++i) {
    items_.push_back({values[i], true, i + 1 == count});
  }
}

bool pool_results::abort(nb::object error) {
  if (has_ended()) {
    return false;
  }
  error_ = std::move(error);
  end();
  show_readiness();
  return true;
}

std::optional<pool_results::item> pool_results::take() {
  if (items_.empty()) {
    if (error_.is_valid()) {
      raise(error_);
    }
    return std::nullopt;
  }
  item next = std::move(items_.front());
  items_.pop_front();
  consumed_ += next.last_of_task ? 1 : 0;
  show_readiness();
  return next;
}

void pool_results::put_back(item taken) {
  consumed_ -= taken.last_of_task ? 1 : 0;
  items_.push_front(std::move(taken));
  show_readiness();
}

void pool_results::end_of_items() {
  has_last_item();
  length_ = submitted;
  end_if_complete();
  show_readiness();
}

void pool_results::end_of_items(nb::object error) {
  has_last_item();
  length_ = submitted + 1;
  deliver(submitted++, false, std::move(error));
}

void pool_results::end_if_complete() {
  if (done_ == length_ && !has_ended()) {
    end();
  }
}

int pool_results::traverse(visitproc visit, void* arg) {
  for (const item& each : items_) {
    Py_VISIT(each.value.ptr());
  }
  for (const auto& [index, each] : waiting_) {
    Py_VISIT(each.value.ptr());
  }
  Py_VISIT(error_.ptr());
  return pool_job::traverse(visit, arg);
}

void pool_results::clear() {
  std::deque<item>().swap(items_);
  std::unordered_map<std::size_t, item>().swap(waiting_);
  error_.reset();
  pool_job::clear();
}

void bind_pool_job(nb::module_& module) {
  static std::array<PyType_Slot, 3> collected{{
      {Py_tp_traverse, reinterpret_cast<void*>(&traverse)},
      {Py_tp_clear, reinterpret_cast<void*>(&clear)},
      {0, nullptr},
  }};
  static std::array<PyType_Slot, 5> iterated{{
      {Py_tp_traverse, reinterpret_cast<void*>(&traverse)},
      {Py_tp_clear, reinterpret_cast<void*>(&clear)},
      {Py_tp_iter, reinterpret_cast<void*>(&PyObject_SelfIter)},
      {Py_tp_iternext, reinterpret_cast<void*>(&next_result)},
      {0, nullptr},
  }};
  nb::class_<pool_job>(module, "PoolJob", nb::type_slots(collected.data()), nb::is_weak_referenceable())
      .def_prop_ro("_ended", &pool_job::has_ended)
      .def_rw("_task_timeout", &pool_job::timeout)
      .def_rw("_retries_wanted", &pool_job::retries)
      .def_rw("_is_called_back", &pool_job::called_back)
      .def_rw("_is_watched", &pool_job::watched)
      .def_prop_rw(
          "_progress", [](const pool_job& self) { return self.progress.is_valid() ? self.progress : nb::none(); },
          [](pool_job& self, nb::object progress) { self.progress = std::move(progress); }, nb::arg().none())
      .def_prop_ro("_crew", &pool_job::crew)
      .def_prop_ro("_method", &pool_job::method)
      .def_prop_ro("_func_name", &pool_job::function_name)
      .def_prop_ro("_chunksize", &pool_job::chunk_size)
      .def("_descriptor", &pool_job::descriptor)
      .def("_abort", [](pool_job& self, nb::object error) { return self.abort(std::move(error)); });
  nb::class_<pool_result, pool_job>(module, "PoolResult", nb::type_slots(collected.data()))
      .def(nb::init<nb::object, nb::object, nb::object, nb::object, std::size_t, Py_ssize_t>())
      .def_prop_ro("_is_ready", &pool_result::is_ready)
      .def_prop_ro("_succeeded", &pool_result::succeeded)
      .def_prop_ro("_tasks_left", &pool_result::tasks_left)
      .def_prop_ro("_value",
                   [](const pool_result& self) { return self.value().is_valid() ? self.value() : nb::none(); })
      .def("_fail", &pool_result::fail)
      .def("_completed", &pool_result::completed);
  nb::class_<pool_results, pool_job>(module, "PoolResults", nb::type_slots(iterated.data()))
      .def(nb::init<nb::object, nb::object, nb::object, nb::object, std::size_t, bool>())
      .def_prop_ro("_is_ready", &pool_results::is_ready)
      .def_prop_ro("_tasks_consumed", &pool_results::tasks_consumed)
      .def_rw("_ahead", &pool_results::ahead);
}

}  // namespace shoal::python
