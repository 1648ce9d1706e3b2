#pragma once

namespace shoal {

/// From now on this process, a child of a fork server, is killed when its starter dies, however it dies: when nobody
/// has the other end of `channel` any more, which must stay open. As die_with_parent, whose signal it uses.
///
/// The kernel sends that signal by itself (fcntl(2), F_SETSIG), so no thread waits for it, and that the fork server
/// lives on, or does not, makes no difference.
/// @throws std::system_error  the kernel refuses.
void die_with_starter(int channel);

}  // namespace shoal
