#include "shoal/detail/handles.hpp"

namespace shoal::detail {

void send_location(outgoing_parcel& out, const slot_location& location) {
  out.add_descriptor(location.arena);
  out.values.unsigned_integer(location.index);
  out.add_descriptor(location.readiness);
}

slot_location receive_location(incoming_parcel& in) {
  slot_location location;
  location.arena = in.take_descriptor();
  location.index = static_cast<std::uint32_t>(in.values.unsigned_integer());
  location.readiness = in.take_descriptor();
  return location;
}

void send_location(outgoing_parcel& out, const shared_handle& handle) {
  send_location(out, handle.memory);
  send_location(out, handle.mutex);
}

void receive_location(incoming_parcel& in, shared_handle& handle) {
  handle.memory = receive_location(in);
  handle.mutex = receive_location(in);
}

void send_location(outgoing_parcel& out, const queue_descriptors& descriptors) {
  for (const int fd : {descriptors.segment, descriptors.readiness, descriptors.room}) {
    out.add_descriptor(fd);
  }
}

void receive_location(incoming_parcel& in, queue_descriptors& descriptors) {
  descriptors.segment = in.take_descriptor();
  descriptors.readiness = in.take_descriptor();
  descriptors.room = in.take_descriptor();
}

}  // namespace shoal::detail
