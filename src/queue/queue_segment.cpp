#include "queue/queue_segment.hpp"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <stdexcept>
#include <string>

#include "os/memfd.hpp"
#include "queue/layout.hpp"
#include "shoal/error.hpp"

namespace shoal::queue {
namespace {

constexpr std::size_t gibibyte = std::size_t{1} << 30;

std::atomic<std::size_t> mapped_queues{0};

std::size_t default_reserve() {
  const std::size_t mapped = mapped_queues.load(std::memory_order_relaxed);
  if (mapped >= 4096) {
    return gibibyte;
  }
  if (mapped >= 256) {
    return 8 * gibibyte;
  }
  const auto pages = static_cast<std::size_t>(::sysconf(_SC_PHYS_PAGES));
  return std::clamp(4 * std::bit_ceil(pages * memory::page_size), 8 * gibibyte, 256 * gibibyte);
}

memory::segment create(const queue_options& options) {
  constexpr std::size_t least = std::size_t{1} << 24;
  if (options.max_bytes != 0) {
    const std::size_t reserve = round_up(options.max_bytes, memory::page_size);
    const std::size_t needed = places(reserve).data_offset + chunk_size;
    if (reserve < needed) {
      throw std::invalid_argument("a queue of at most " + std::to_string(options.max_bytes) +
                                  " bytes was asked for; the smallest has " + std::to_string(needed));
    }
    return memory::segment::create(memory::segment_kind::queue, options.label, reserve);
  }
  for (std::size_t reserve = default_reserve();; reserve /= 2) {
    try {
      return memory::segment::create(memory::segment_kind::queue, options.label, reserve);
    } catch (const std::system_error& failure) {
      // RLIMIT_AS: make do with less address space, down to what is still a useful queue.
      if (failure.code() != std::errc::not_enough_memory || reserve <= least) {
        throw;
      }
    }
  }
}

memory::segment attach(int descriptor) {
  memory::segment found = memory::segment::attach(descriptor, memory::segment_kind::queue);
  const std::size_t size = os::file_size(found.descriptor());
  const std::string where = "/proc/self/fd/" + std::to_string(descriptor) + " is a damaged Shoal queue: ";
  if (constexpr std::size_t least = table_offset + memory::page_size; size < least) {
    throw error(errc::truncated_segment, where + "the file has " + std::to_string(size) + " bytes, expected at least " +
                                             std::to_string(least) + ".");
  }
  const std::uint64_t limit = found.at<control>(control_offset)->chunk_limit;
  if (limit != places(found.size()).chunk_limit) {
    throw error(errc::truncated_segment, where + "its chunk table has " + std::to_string(limit) +
                                             " entries, expected " + std::to_string(places(found.size()).chunk_limit) +
                                             ".");
  }
  return found;
}

}  // namespace

queue_segment::queue_segment(const queue_options& options) : memory_(create(options)) {
  mapped_queues.fetch_add(1, std::memory_order_relaxed);
}

queue_segment::queue_segment(int descriptor) : memory_(attach(descriptor)) {
  mapped_queues.fetch_add(1, std::memory_order_relaxed);
}

queue_segment::~queue_segment() { mapped_queues.fetch_sub(1, std::memory_order_relaxed); }

os::event_fd attach_event_fd(int descriptor, const char* which) {
  if (descriptor < 0) {
    throw error(errc::not_a_segment,
                std::string("the ") + which + " descriptor of a Shoal queue is " + std::to_string(descriptor) +
                    ", expected an eventfd: a queue has two descriptors, a bounded one three. Pass "
                    "all that its descriptors() gave.");
  }
  os::file_descriptor fd = os::file_descriptor::duplicate(descriptor);
  char target[64] = {};
  const std::string link = "/proc/self/fd/" + std::to_string(descriptor);
  const ssize_t length = ::readlink(link.c_str(), target, sizeof target - 1);
  if (length < 0 || std::strcmp(target, "anon_inode:[eventfd]") != 0) {
    throw error(errc::not_a_segment, link + " is " + (length < 0 ? "unreadable" : target) +
                                         ", expected the eventfd of a Shoal queue. Pass the " + which +
                                         " of its descriptors.");
  }
  return os::event_fd(std::move(fd));
}

}  // namespace shoal::queue
