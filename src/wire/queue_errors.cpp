#include <string>

#include "shoal/error.hpp"
#include "shoal/queue.hpp"

namespace shoal::detail {

void throw_push_to_closed_queue() {
  throw error(errc::closed,
              "push to a closed queue: it takes no more values; close it only after the last producer is done");
}

void throw_pop_from_closed_queue() {
  throw error(errc::closed,
              "pop from a queue that is closed and drained: no value will come; wait_pop() or a range-for ends there "
              "without an error");
}

void throw_no_raw_object(encoding tag, std::size_t found_size, std::string_view wanted_type, std::size_t wanted_size) {
  const std::string wanted =
      "expected the " + std::to_string(wanted_size) + " bytes of a raw " + std::string(wanted_type) + ", found ";
  const std::string size = std::to_string(found_size);
  switch (tag) {
    case encoding::raw:
      throw error(
          errc::wrong_type,
          wanted + size +
              " bytes of a raw object: the sender was built with another definition of it, or sends another type");
    case encoding::msgpack:
      throw error(errc::wrong_type, wanted + size +
                                        " bytes of MessagePack: declare the queue as shoal::queue<T, shoal::portable> "
                                        "to read what Python, or another portable queue, sends");
    case encoding::pickle:
    case encoding::pickle_buffers:
      throw error(errc::wrong_type, wanted + "a Python pickle of " + size +
                                        " bytes: declare the queue as shoal::queue<T, shoal::portable>, and send "
                                        "tuples or dicts of int, float, str and bytes from Python");
  }
  throw error(errc::corrupt_record,
              wanted + size + " bytes in the unknown encoding " + std::to_string(static_cast<unsigned>(tag)));
}

}  // namespace shoal::detail
