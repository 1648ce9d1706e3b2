#include "shoal/detail/guarded_memory.hpp"

#include <cstdint>
#include <limits>
#include <new>
#include <string>

#include "shoal/error.hpp"

namespace shoal::detail {
namespace {

struct header {
  std::uint64_t object_size;
  std::uint64_t count;
};

std::size_t bytes_for(std::size_t object_size, std::size_t count, std::size_t header_size) {
  if (count > (std::numeric_limits<std::size_t>::max() / 2 - header_size) / object_size) {
    throw std::bad_array_new_length();
  }
  return header_size + object_size * count;
}

}  // namespace

guarded_memory::guarded_memory(std::size_t object_size, std::size_t count, std::string_view label)
    : slot_(memory::arena_slot::allocate(memory::slot_kind::block, bytes_for(object_size, count, header_size))),
      mutex_(label),
      count_(count) {
  static_assert(sizeof(header) <= header_size);
  slot_.as<header>() = {object_size, count};
}

guarded_memory::guarded_memory(const shared_handle& handle, std::size_t object_size, std::size_t expected)
    : slot_(memory::arena_slot::attach(handle.memory, memory::slot_kind::block)), mutex_(handle.mutex), count_(0) {
  const header found = slot_.as<header>();
  const std::size_t room = slot_.bytes() - header_size;
  if (found.object_size != object_size || found.count > room / object_size ||
      (expected != 0 && found.count != expected)) {
    throw error(errc::wrong_type, "slot " + std::to_string(handle.memory.index) + " of the arena holds " +
                                      std::to_string(found.count) + " objects of " + std::to_string(found.object_size) +
                                      " bytes, expected " + (expected == 0 ? "some" : std::to_string(expected)) +
                                      " of " + std::to_string(object_size) +
                                      ". Were the right handle passed and the right type named?");
  }
  count_ = found.count;
}

}  // namespace shoal::detail
