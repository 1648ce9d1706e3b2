#include "memory/arena.hpp"

#include <sys/stat.h>

#include <string>

#include "os/error.hpp"
#include "os/memfd.hpp"
#include "shoal/error.hpp"

namespace shoal::memory {
namespace {

constexpr std::size_t rounded_up(std::size_t bytes) noexcept { return (bytes + page_size - 1) & ~(page_size - 1); }

[[noreturn]] void refuse(int descriptor, const std::string& why) {
  throw error(errc::truncated_segment,
              "/proc/self/fd/" + std::to_string(descriptor) + " is a damaged Shoal arena: " + why);
}

}  // namespace

file_identity identity_of(int fd) {
  struct stat status {};
  os::check(::fstat(fd, &status), "identifying an arena");
  return {status.st_dev, status.st_ino};
}

std::size_t arena::size_of(std::size_t slot_size, std::uint32_t slots) noexcept {
  return page_size + rounded_up(slot_size * slots) + (slot_size == arena_slot::size ? threads_bytes : 0);
}

std::shared_ptr<arena> arena::create(std::size_t slot_size, std::uint32_t slots) {
  const std::size_t size = size_of(slot_size, slots);
  segment memory = segment::create(segment_kind::arena, "", size);
  memory.grow(size);  // costs nothing before it is touched
  auto* const made = memory.at<header>(header_offset);
  made->slot_size = slot_size;
  made->slots = slots;
  return std::make_shared<arena>(std::move(memory));
}

std::shared_ptr<arena> arena::attach(int descriptor) {
  segment memory = segment::attach(descriptor, segment_kind::arena);
  // Nothing is touched before it is known to be there: that the file reaches as far as the first page says segment.
  const header& found = *memory.at<header>(header_offset);
  const std::size_t slot_size = found.slot_size;
  const std::uint32_t slots = found.slots;
  if (slot_size == 0 || slot_size % arena_slot::size != 0 || slots == 0 || slots > most_slots ||
      slot_size > memory.size() / slots || size_of(slot_size, slots) != memory.size()) {
    refuse(descriptor, "it has " + std::to_string(memory.size()) + " bytes, which are not " + std::to_string(slots) +
                           " slots of " + std::to_string(slot_size) + " bytes.");
  }
  if (const std::size_t there = os::file_size(memory.descriptor()); there < memory.size()) {
    refuse(descriptor,
           "the file has " + std::to_string(there) + " bytes, expected " + std::to_string(memory.size()) + ".");
  }
  return std::make_shared<arena>(std::move(memory));
}

arena::arena(segment memory)
    : memory_(std::move(memory)),
      identity_(identity_of(memory_.descriptor())),
      slot_size_(memory_.at<header>(header_offset)->slot_size),
      slots_(memory_.at<header>(header_offset)->slots) {
  if (slot_size_ == arena_slot::size) {
    threads_ = memory_.data() + (memory_.size() - threads_bytes);
  }
}

void arena::populate_threads(std::size_t offset, std::size_t size) const {
  const std::size_t begin = offset / page_size * page_size;  // the kernel takes whole pages
  memory_.populate(memory_.size() - threads_bytes + begin, offset + size - begin);
}

}  // namespace shoal::memory
