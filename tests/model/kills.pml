/*
 * What all models share: processes that may be killed at any step, and locks that survive it.
 *
 * A model defines PROCESSES (2 to 4), how many KILLS there may be, ON_KILL(v): what else happens at once when process v is
 * killed, and then includes this file. The processes of the model are numbered from 0, have that number in `me`, and are of
 * the form
 *
 *     { ...; ended[me] = true } unless { killed[me] }
 *
 * so that from the step in which it is killed a process does nothing any more.
 *
 * Stands for src/sync/robust_mutex.cpp: a lock whose holder was killed is given to the next who wants it, who is told.
 */
#define FREE 0
#define ABANDONED 255

byte head;  /* the consumers' lock: FREE, ABANDONED or its holder + 1 */
byte tail;  /* the producers' */

bool killed[PROCESSES];
bool ended[PROCESSES];
byte kills;

inline lock(which) {
  atomic { which == FREE || which == ABANDONED -> owner_died = (which == ABANDONED); which = me + 1 }
}

/* Without waiting. A process that spins for a while and then gives up is one that tries later. */
inline try_lock(which) {
  atomic {
    if
    :: which == FREE || which == ABANDONED -> owner_died = (which == ABANDONED); which = me + 1; got = true
    :: else -> got = false
    fi
  }
}

inline unlock(which) { which = FREE }

#ifdef CLOSES_FILES_LATER
/*
 * A killed process keeps what it owns for a while: the kernel gives up its robust locks before it closes its files. Stands
 * for src/queue/holder.cpp, is_alive.
 */
bool closed_files[PROCESSES];

active proctype kernel() {
end:
  do
  :: atomic { killed[0] && !closed_files[0] -> closed_files[0] = true }
  :: atomic { killed[1] && !closed_files[1] -> closed_files[1] = true }
  :: atomic { killed[2] && !closed_files[2] -> closed_files[2] = true }
  :: atomic { killed[3] && !closed_files[3] -> closed_files[3] = true }
  od
}
#endif

#define KILL(v)                                              \
  atomic {                                                   \
    kills < KILLS && !ended[v] && !killed[v] ->              \
    kills++;                                                 \
    killed[v] = true;                                        \
    if :: head == v + 1 -> head = ABANDONED :: else fi;      \
    if :: tail == v + 1 -> tail = ABANDONED :: else fi;      \
    ON_KILL(v)                                               \
  }

active proctype killer() {
  do
  :: KILL(0)
  :: KILL(1)
#if PROCESSES > 2
  :: KILL(2)
#endif
#if PROCESSES > 3
  :: KILL(3)
#endif
  :: break
  od
}
