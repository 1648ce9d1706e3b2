#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bind.hpp"
#include "sync/lock_survey.hpp"

namespace nb = nanobind;

namespace shoal::python {
namespace {

using sync::surveyed_lock;

nb::object text_of(const std::string& bytes) {
  return nb::steal(PyUnicode_DecodeUTF8(bytes.data(), static_cast<Py_ssize_t>(bytes.size()), "replace"));
}

nb::object holder_of(const lock_holder& holder) {
  return nb::make_tuple(holder.process, holder.thread, holder.since, holder.alive);
}

nb::dict described(const surveyed_lock& lock) {
  nb::list readers;
  for (const lock_holder& reader : lock.readers) {
    readers.append(holder_of(reader));
  }
  nb::list waiters;
  for (const sync::surveyed_waiter& waiter : lock.waiters) {
    waiters.append(nb::make_tuple(waiter.process, waiter.thread, waiter.since, text_of(waiter.stack)));
  }
  nb::dict found;
  found["location"] = nb::make_tuple(lock.arena.second, lock.slot);
  found["kind"] = static_cast<std::uint32_t>(lock.kind);
  found["label"] = text_of(lock.label);
  found["holder"] = lock.holder ? holder_of(*lock.holder) : nb::none();
  found["depth"] = lock.depth;
  found["readers"] = readers;
  found["waiters"] = waiters;
  found["value"] = lock.value ? nb::object(nb::int_(*lock.value)) : nb::none();
  found["parties"] = lock.parties;
  found["broken"] = lock.broken;
  return found;
}

std::vector<std::shared_ptr<memory::arena>> arenas_of(std::optional<std::int32_t> process) {
  return process ? sync::arenas_of(*process) : memory::all_arenas();
}

nb::list survey_locks(std::optional<std::int32_t> process) {
  nb::list all;
  for (const auto& arena : arenas_of(process)) {
    for (const surveyed_lock& lock : sync::survey(*arena)) {
      all.append(described(lock));
    }
  }
  return all;
}

std::vector<std::int32_t> neighbours(std::optional<std::int32_t> process) {
  std::vector<std::int32_t> all;
  for (const auto& arena : arenas_of(process)) {
    const std::vector<std::int32_t> here = sync::processes_in(*arena);
    all.insert(all.end(), here.begin(), here.end());
  }
  return all;
}

}  // namespace

void bind_debug(nb::module_& module) {
  module.def("survey_locks", &survey_locks, nb::arg("process").none());
  module.def("processes_with_locks", &neighbours, nb::arg("process").none());
}

}  // namespace shoal::python
