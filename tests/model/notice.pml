/*
 * A lease whose holder dies while nobody but a poller is interested: the kernel's notice of the death raises the descriptor
 * before the kernel can tell that the holder is dead, and must not be lowered away by those who look in between.
 *
 * Checked: when nothing moves any more, and no process was killed but the holder, the record has come back and was taken.
 *
 * The holder (process 0) dies in the steps in which the kernel takes a process apart: it is dying (PF_EXITING), the notice
 * comes, its files are closed, it is gone from /proc. A producer gets in the way of those who try for its lock, a consumer
 * looks at the queue, and the poller does whenever the descriptor is readable.
 *
 * Stands for
 *   src/queue/shared_queue.cpp   find_front, look_for_dead_holders, lower_readiness, lower_unless_leases_come_back
 *   src/queue/readiness.hpp      raise, lower, raise_again
 *   src/queue/lease_ledger.cpp   has_dead_holders, has_dying_holders, put_back_of_the_dead
 *   src/os/death_notice.cpp      what the kernel does
 *
 * Mutants: -DMUTANT=1 to 4, see the places.
 */
#ifndef MUTANT
#define MUTANT 0
#endif
#define KILLS 0
#define PROCESSES 4
#define ON_KILL(v)

#include "kills.pml"

#define LOWERED 0
#define RAISED 1
#define CHANGING 2
byte state;
byte raises; /* the eventfd's count: how often it was raised since it was lowered */
#define READABLE (raises != 0)

bool out = true; /* the one record is out on lease, by process 0 */
byte returned;
byte taken;

bool dying, closed_files, gone;
#define IS_DEAD (closed_files)
#define IS_DYING (dying && !gone)

proctype holder() {
  dying = true;
  raises++; /* the notice: the kernel knows nothing of `state` */
  closed_files = true;
  gone = true
}

inline raise() {
  if
  :: state != RAISED -> atomic { raises++; state = RAISED }
  :: else
  fi
}

/* others: whether somebody else had raised it too. */
inline lower() {
  atomic {
#if MUTANT == 4
    /* As if it had been raised by one of those who keep `state` in any case. */
    others = (raises > 1);
#else
    others = (raises > (state == RAISED -> 1 : 0));
#endif
    raises = 0;
    state = LOWERED
  }
}

inline raise_again() { atomic { raises++; state = CHANGING } }

/* Under the head lock. */
inline lower_readiness() {
  if
  :: state != LOWERED || READABLE ->
     try_lock(tail);
     if
     :: got ->
        if
        :: returned != 0
        :: else ->
#if MUTANT == 1
           /* Looked at first, as if nobody could die between the look and the lowering. */
           if
           :: out && IS_DYING
           :: else ->
              if
              :: out && IS_DEAD
              :: else -> lower()
              fi
           fi
#else
           lower();
           if
#if MUTANT != 2
           /* Mutant 2: whoever is dying is not looked for. */
           :: others && out && IS_DYING -> raise_again()
#endif
           :: else ->
              if
#if MUTANT != 3
              /* Mutant 3: whoever has died meanwhile is not looked for. */
              :: others && out && IS_DEAD -> raise_again()
#endif
              :: else
              fi
           fi
#endif
        fi;
        unlock(tail);
        got = false
     :: else
     fi
  :: else
  fi
}

/* Takes the record if it has come back. */
inline look() {
  lock(head);
  if
  :: returned == 0 && out && IS_DEAD ->
     try_lock(tail);
     if
     :: got ->
        raise();
        out = false;
        returned++; /* with the entry's word: leases.pml */
        unlock(tail);
        got = false
     :: else
     fi
  :: else
  fi;
  if
  :: returned != 0 ->
     returned--;
     taken++
  :: else
  fi;
  lower_readiness();
  unlock(head)
}

proctype producer(byte me) {
  bool owner_died;
  lock(tail);
  unlock(tail);
  lock(tail);
  unlock(tail)
}

proctype consumer(byte me) {
  bool owner_died, got, others;
  look();
  look()
}

proctype poller(byte me) {
  bool owner_died, got, others;
end:
  do
  :: READABLE -> look()
  od
}

active proctype monitor() {
  timeout -> assert(taken == 1 && !out && returned == 0 && !READABLE)
}

init {
  atomic {
    /* A record was there a moment ago, or none. */
    if :: raises = 1; state = RAISED :: skip fi;
    run holder();
    run producer(1);
    run consumer(2);
    run poller(3)
  }
}
