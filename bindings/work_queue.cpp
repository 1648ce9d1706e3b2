#include "shoal/work_queue.hpp"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/tuple.h>

#include <cstdint>
#include <optional>
#include <tuple>
#include <utility>

#include "bind.hpp"
#include "codec.hpp"
#include "lent.hpp"
#include "shoal/error.hpp"
#include "waiting.hpp"

namespace nb = nanobind;

namespace shoal::python {
namespace {

// Segment and readiness of the tasks, of the results, and the claims.
using descriptor_tuple = std::tuple<int, int, int, int, int>;

// (ticket, True, object), or (ticket, False, the exception that unpickling it raised): whoever waits for the ticket
// must hear of it either way.
nb::object delivered(std::uint64_t ticket, encoding tag, const_bytes bytes) {
  try {
    return nb::make_tuple(ticket, true, decode_object(tag, bytes));
  } catch (nb::python_error& raised) {
    if (!raised.matches(PyExc_Exception)) {
      throw;  // KeyboardInterrupt: not the task's doing
    }
    return nb::make_tuple(ticket, false, raised.value());
  } catch (const shoal::error&) {
    set_error_from_current_exception();
    const nb::python_error raised;
    return nb::make_tuple(ticket, false, raised.value());
  }
}

std::uint64_t submit(work_queue& self, nb::handle object) {
  const lent<encoded_object> encoded;
  const nb::object kept = encoded->encode(object.ptr());
  return self.submit(encoded->tag(), encoded->parts());
}

void finish(work_queue& self, std::size_t slot, std::uint64_t ticket, nb::handle object) {
  const lent<encoded_object> encoded;
  const nb::object kept = encoded->encode(object.ptr());
  self.finish(slot, ticket, encoded->tag(), encoded->parts());
}

nb::object next(work_queue& self, std::optional<double> timeout) {
  // Kept from one call to the next: only one thread may call this.
  thread_local outcome received;
  const deadline until = deadline_of(timeout);
  queue_status status = self.next(received, no_waiting);
  if (goes_on(status, until)) {
    status = wait_for_queue([&](deadline limit) { return self.next(received, limit); }, until);
  }
  if (status != queue_status::ok) {
    return nb::none();
  }
  if (received.what() == outcome::kind::worker_lost) {
    return nb::int_(received.slot());
  }
  outcome mine = std::exchange(received, outcome());
  nb::object result = delivered(mine.ticket(), mine.tag(), mine.bytes());
  received = std::move(mine);
  return result;
}

nb::object take(work_queue& self, std::size_t slot, std::optional<double> timeout) {
  task taken;
  const deadline until = deadline_of(timeout);
  queue_status status = self.take(slot, taken, no_waiting);
  if (goes_on(status, until)) {
    status = wait_for_queue([&](deadline limit) { return self.take(slot, taken, limit); }, until);
  }
  return status == queue_status::ok ? delivered(taken.ticket(), taken.tag(), taken.bytes()) : nb::none();
}

void construct(work_queue* self, std::size_t slots, const std::optional<descriptor_tuple>& descriptors) {
  if (descriptors) {
    const auto [tasks, tasks_ready, results, results_ready, claims] = *descriptors;
    new (self) work_queue(work_queue::attach({{tasks, tasks_ready}, {results, results_ready}, claims}));
  } else {
    new (self) work_queue(slots);
  }
}

descriptor_tuple descriptors_of(const work_queue& self) {
  const work_queue_descriptors all = self.descriptors();
  return {all.tasks.segment, all.tasks.readiness, all.results.segment, all.results.readiness, all.claims};
}

}  // namespace

void bind_work_queue(nb::module_& module) {
  nb::class_<work_queue>(module, "WorkQueue", nb::is_weak_referenceable())
      .def("__init__", &construct, nb::arg("slots"), nb::kw_only(), nb::arg("descriptors") = nb::none())
      .def("submit", &submit, nb::arg("task").none())
      .def("next", &next, nb::arg("timeout") = nb::none())
      // Without the GIL: a worker may be stopped where these need a lock.
      .def(
          "lost",
          [](work_queue& self, std::size_t slot) {
            const released_gil released;
            self.lost(slot);
          },
          nb::arg("slot"))
      .def("reclaim", &work_queue::reclaim, nb::arg("slot"))
      .def("close",
           [](work_queue& self) {
             const released_gil released;
             self.close();
           })
      .def("pending", &work_queue::pending)
      .def("take", &take, nb::arg("slot"), nb::arg("timeout") = nb::none())
      .def("finish", &finish, nb::arg("slot"), nb::arg("ticket"), nb::arg("outcome").none())
      .def("descriptors", &descriptors_of);
}

}  // namespace shoal::python
