#include "pool/claims.hpp"

#include <stdexcept>
#include <utility>

#include "shoal/error.hpp"

namespace shoal {
namespace {

// What lies in the segment, behind its header's page: the number of slots, then the slots. Each has a line of its own,
// since each is written by another process at every task.
constexpr std::size_t line = 64;
constexpr std::size_t count_offset = memory::page_size;
constexpr std::size_t most_slots = 65536;

constexpr std::size_t offset_of(std::size_t slot) { return count_offset + line * (1 + slot); }

constexpr std::size_t size_for(std::size_t slots) {
  return (offset_of(slots) + memory::page_size - 1) / memory::page_size * memory::page_size;
}

}  // namespace

claims claims::create(std::size_t slots, const std::string& label) {
  if (slots == 0 || slots > most_slots) {
    throw std::invalid_argument("a work queue for " + std::to_string(slots) +
                                " workers was asked for; it can have 1 to " + std::to_string(most_slots));
  }
  memory::segment made = memory::segment::create(memory::segment_kind::claims, label, size_for(slots));
  made.grow(made.size());
  made.populate(count_offset, made.size() - count_offset);
  *made.at<std::uint64_t>(count_offset) = slots;
  return {std::move(made), slots};
}

claims claims::attach(int descriptor) {
  memory::segment found = memory::segment::attach(descriptor, memory::segment_kind::claims);
  const std::string where = "/proc/self/fd/" + std::to_string(descriptor);
  if (found.size() < size_for(1)) {
    throw error(errc::truncated_segment, where + " is damaged: it has no room for any worker's claim.");
  }
  found.grow(
      found.size());  // a damaged file may be shorter than its header allows, and touching what is missing faults
  const auto slots = *found.at<std::uint64_t>(count_offset);
  if (slots == 0 || slots > most_slots || size_for(slots) != found.size()) {
    throw error(errc::truncated_segment, where + " is damaged: it has " + std::to_string(found.size()) +
                                             " bytes for the claims of " + std::to_string(slots) + " workers.");
  }
  return {std::move(found), slots};
}

claims::word& claims::of(std::size_t slot) const {
  if (slot >= slots_) {
    throw std::out_of_range("worker slot " + std::to_string(slot) + " of a work queue with " + std::to_string(slots_) +
                            " slots");
  }
  return *segment_.at<word>(offset_of(slot));
}

}  // namespace shoal
