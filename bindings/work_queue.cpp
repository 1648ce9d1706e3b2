#include "shoal/work_queue.hpp"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <tuple>
#include <utility>

#include "bind.hpp"
#include "plain_method.hpp"
#include "pool_queue.hpp"

namespace nb = nanobind;

namespace shoal::python {
namespace {

// Segment and readiness of the tasks, of the results, and the claims.
using descriptor_tuple = std::tuple<int, int, int, int, int>;

void construct(pool_queue* self, std::size_t slots, const std::optional<descriptor_tuple>& descriptors) {
  if (descriptors) {
    const auto [tasks, tasks_ready, results, results_ready, claims] = *descriptors;
    new (self) pool_queue(work_queue::attach({{tasks, tasks_ready}, {results, results_ready}, claims}));
  } else {
    new (self) pool_queue(work_queue(slots));
  }
}

descriptor_tuple descriptors_of(pool_queue& self) {
  const work_queue_descriptors all = self.native().descriptors();
  return {all.tasks.segment, all.tasks.readiness, all.results.segment, all.results.readiness, all.claims};
}

// (whether it will not be begun, the slot of the worker that is at it or None)
nb::tuple told(const work_queue::called_off& found) {
  using result = work_queue::call_off_result;
  return nb::make_tuple(found.result == result::withdrawn,
                        found.result == result::running ? nb::object(nb::int_(found.slot)) : nb::object(nb::none()));
}

double seconds(std::chrono::nanoseconds duration) { return std::chrono::duration<double>(duration).count(); }

// (ticket, seconds for which the task has been running, or None), or None if the worker is at no task.
nb::object running(pool_queue& self, std::size_t slot) {
  const slot_account account = self.native().account(slot);
  if (!account.running) {
    return nb::none();
  }
  if (account.since == std::chrono::steady_clock::time_point()) {
    return nb::make_tuple(*account.running, nb::none());
  }
  return nb::make_tuple(*account.running, seconds(std::chrono::steady_clock::now() - account.since));
}

nb::tuple account(pool_queue& self, std::size_t slot) {
  const slot_account of = self.native().account(slot);
  return nb::make_tuple(of.finished, seconds(of.idle), of.bytes_in, of.bytes_out);
}

int traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  return nb::inst_ready(self) ? nb::inst_ptr<pool_queue>(self)->traverse(visit, arg) : 0;
}

int clear(PyObject* self) {
  if (nb::inst_ready(self)) {
    nb::inst_ptr<pool_queue>(self)->clear();
  }
  return 0;
}

}  // namespace

void bind_work_queue(nb::module_& module) {
  static std::array<PyType_Slot, 3> slots{{
      {Py_tp_traverse, reinterpret_cast<void*>(&traverse)},
      {Py_tp_clear, reinterpret_cast<void*>(&clear)},
      {0, nullptr},
  }};
  nb::class_<pool_queue>(module, "WorkQueue", nb::is_weak_referenceable(), nb::type_slots(slots.data()))
      .def("__init__", &construct, nb::arg("slots"), nb::kw_only(), nb::arg("descriptors") = nb::none())
      .def(
          "submit",
          [](pool_queue& self, const nb::object& job, std::size_t index, unsigned kind, nb::handle function,
             nb::handle arguments) { self.submit(job, index, static_cast<call_kind>(kind), function, arguments); },
          nb::arg("job"), nb::arg("index"), nb::arg("kind"), nb::arg("function").none(), nb::arg("arguments").none())
      .def(
          "submit_items",
          [](pool_queue& self, const nb::object& job, unsigned kind, nb::handle function, const nb::object& items,
             bool at_once) {
            return static_cast<int>(self.submit_items(job, static_cast<call_kind>(kind), function, items, at_once));
          },
          nb::arg("job"), nb::arg("kind"), nb::arg("function").none(), nb::arg("items"), nb::arg("at_once"))
      .def(
          "wait_for",
          [](pool_queue& self, nb::handle job, nb::handle timeout) {
            self.wait_for(job, waiting_deadline(nullptr, timeout.ptr()));
          },
          nb::arg("job"), nb::arg("timeout").none())
      .def("receive_unattended", &pool_queue::receive_unattended)
      .def("look", &pool_queue::look)
      .def("expect", &pool_queue::expect)
      .def("take_lost", &pool_queue::take_lost)
      .def("take_condemned", &pool_queue::take_condemned)
      .def("condemned", &pool_queue::condemned)
      .def("wake", &pool_queue::wake)
      .def("lost", &pool_queue::lost)
      .def("reclaim", [](pool_queue& self, std::size_t slot) { return self.native().reclaim(slot); })
      .def("entry", &pool_queue::entry)
      .def("tickets_of", &pool_queue::tickets_of)
      .def("call_off", [](pool_queue& self, std::uint64_t ticket) { return told(self.call_off(ticket)); })
      .def("withdraw", [](pool_queue& self, std::uint64_t ticket) { return told(self.native().withdraw(ticket)); })
      .def("running", &running)
      .def("account", &account)
      .def("open", &pool_queue::open)
      .def("ended", &pool_queue::ended)
      .def("open_jobs", &pool_queue::open_jobs)
      .def("close_when_idle", &pool_queue::close_when_idle)
      .def("close", &pool_queue::close)
      .def("pending", [](pool_queue& self) { return self.native().pending(); })
      .def("serve", &pool_queue::serve, nb::arg("slot"), nb::arg("most").none(), nb::arg("report"),
           nb::arg("unsendable"), nb::arg("left_behind"))
      .def("descriptors", &descriptors_of)
      .def_prop_ro("open_count", &pool_queue::count_open)
      .def_prop_ro("expects_something", &pool_queue::expects_something)
      .def_prop_ro("attending", &pool_queue::attending)
      .def("fail", &pool_queue::fail)
      .def("wait_for_room", &pool_queue::wait_for_room)
      .def_rw("bell", &pool_queue::bell)
      .def_rw("watching", &pool_queue::watching)
      .def_prop_rw(
          "refusal", [](const pool_queue& self) { return self.refusal.is_valid() ? self.refusal : nb::none(); },
          [](pool_queue& self, nb::object error) { self.refusal = std::move(error); }, nb::arg().none())
      .def_rw("weak_crew", &pool_queue::weak_crew);
}

}  // namespace shoal::python
