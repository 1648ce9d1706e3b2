#include "pool/worker_slots.hpp"

#include <stdexcept>
#include <utility>

#include "shoal/error.hpp"

namespace shoal {
namespace {

/// What lies in the segment behind its header's page; then come the slots, then a mark for every ticket of a
/// period.
struct alignas(sizeof(worker_slot)) slots_header {
  std::uint64_t slots;
  worker_slot::word called_off;  // how many marks are set
};

constexpr std::size_t header_offset = memory::page_size;
constexpr std::size_t most_slots = 65536;
constexpr std::size_t marks_size = worker_slots::period * sizeof(std::uint16_t);

constexpr std::size_t offset_of(std::size_t slot) {
  return header_offset + sizeof(slots_header) + sizeof(worker_slot) * slot;
}

constexpr std::size_t marks_offset(std::size_t slots) {
  return (offset_of(slots) + memory::page_size - 1) / memory::page_size * memory::page_size;
}

constexpr std::size_t size_for(std::size_t slots) { return marks_offset(slots) + marks_size; }

}  // namespace

worker_slots worker_slots::create(std::size_t slots, const std::string& label) {
  if (slots == 0 || slots > most_slots) {
    throw std::invalid_argument("a work queue for " + std::to_string(slots) +
                                " workers was asked for; it can have 1 to " + std::to_string(most_slots));
  }
  memory::segment made = memory::segment::create(memory::segment_kind::claims, label, size_for(slots));
  made.grow(made.size());
  made.populate(header_offset, marks_offset(slots) - header_offset);
  made.at<slots_header>(header_offset)->slots = slots;
  return {std::move(made), slots};
}

worker_slots worker_slots::attach(int descriptor) {
  memory::segment found = memory::segment::attach(descriptor, memory::segment_kind::claims);
  const std::string where = "/proc/self/fd/" + std::to_string(descriptor);
  if (found.size() < size_for(1)) {
    throw error(errc::truncated_segment, where + " is damaged: it has no room for any worker's claim.");
  }
  found.grow(
      found.size());  // a damaged file may be shorter than its header allows, and touching what is missing faults
  const auto slots = found.at<slots_header>(header_offset)->slots;
  if (slots == 0 || slots > most_slots || size_for(slots) != found.size()) {
    throw error(errc::truncated_segment, where + " is damaged: it has " + std::to_string(found.size()) +
                                             " bytes for the claims of " + std::to_string(slots) + " workers.");
  }
  return {std::move(found), slots};
}

worker_slot& worker_slots::operator[](std::size_t slot) const {
  if (slot >= slots_) {
    throw std::out_of_range("worker slot " + std::to_string(slot) + " of a work queue with " + std::to_string(slots_) +
                            " slots");
  }
  return *segment_.at<worker_slot>(offset_of(slot));
}

worker_slot::word& worker_slots::called_off_in_all() const noexcept {
  return segment_.at<slots_header>(header_offset)->called_off;
}

worker_slots::mark& worker_slots::mark_at(std::uint64_t ticket) const noexcept {
  return segment_.at<mark>(marks_offset(slots_))[ticket % period];
}

bool worker_slots::call_off(std::uint64_t ticket) const noexcept {
  mark& at = mark_at(ticket);
  if (at.load(std::memory_order_relaxed) != 0) {
    return false;
  }
  at.store(mark_of(ticket), std::memory_order_relaxed);
  called_off_in_all().fetch_add(1, std::memory_order_seq_cst);
  return true;
}

void worker_slots::forget(std::uint64_t ticket) const noexcept {
  mark_at(ticket).store(0, std::memory_order_relaxed);
  called_off_in_all().fetch_sub(1, std::memory_order_seq_cst);
}

// The count first: mostly it is zero, and then the marks' memory is never touched.
bool worker_slots::is_called_off(std::uint64_t ticket) const noexcept {
  return called_off_in_all().load(std::memory_order_seq_cst) != 0 &&
         mark_at(ticket).load(std::memory_order_relaxed) == mark_of(ticket);
}

}  // namespace shoal
