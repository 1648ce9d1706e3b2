#include "shoal/detail/parcel.hpp"

#include <string>

#include "shoal/error.hpp"

namespace shoal::detail {

void outgoing_parcel::add_descriptor(int fd) {
  values.boolean(fd >= 0);
  if (fd >= 0) {
    descriptors.push_back(fd);
  }
}

int incoming_parcel::take_descriptor() {
  if (!values.boolean()) {
    return -1;
  }
  if (descriptors.empty()) {
    throw error(errc::corrupt_record, "what a process was started with names more descriptors than came with it");
  }
  const int fd = descriptors.front();
  descriptors = descriptors.subspan(1);
  return fd;
}

}  // namespace shoal::detail
