#pragma once

#include <exception>
#include <string>

#include "shoal/decoder.hpp"
#include "shoal/encoder.hpp"

namespace shoal {

/// Writes the exception being handled: its type and text, and if it is registered, what it can be made of again.
void encode_current_exception(encoder& out);

/// Reads such an exception: as what it was, with the remote_error nested in it, or as a remote_error.
/// @param where  as of remote_error
[[nodiscard]] std::exception_ptr decode_exception(decoder& in, const std::string& where);

}  // namespace shoal
