#pragma once

#include "shoal/decoder.hpp"
#include "shoal/encoder.hpp"

namespace shoal::detail {

/// Names a function, or other code, to another process that runs the same program: which module it is in, by the
/// module's build id, and where. Where the module lies in memory does not matter, and nothing is registered.
/// @throws shoal::error  errc::unknown_function: no code of the executable or a shared library.
void encode_code(encoder& out, const void* code);

/// The code of that name in this process. A shared library that is not loaded here is, from the same file.
/// @throws shoal::error  errc::unknown_function: there is none; the file it would come from is another build.
[[nodiscard]] const void* decode_code(decoder& in);

}  // namespace shoal::detail
