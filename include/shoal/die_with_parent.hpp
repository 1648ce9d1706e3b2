#pragma once

#include <sys/types.h>

namespace shoal {

/// From now on this process is killed when its parent process dies, however it dies, SIGKILL included.
///
/// The kernel's own means (prctl, PR_SET_PDEATHSIG) fires already when the *thread* that forked ends; this does not. It
/// takes the real-time signal SIGRTMAX - 1 for itself, in this process; children that this process forks must ask for
/// themselves, and so must a program that it executes. Call it in the main thread: the kernel forgets the request with
/// the thread that made it.
///
/// @param parent  the parent's id, taken before the fork, which lets a parent be noticed that died before this call.
/// Without it
///     the parent is whoever it is now.
/// @throws std::system_error  the kernel refuses.
void die_with_parent();
void die_with_parent(pid_t parent);

}  // namespace shoal
