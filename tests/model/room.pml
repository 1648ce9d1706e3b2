/*
 * The descriptor that polls readable while there is room: a queue of one record, a producer, a consumer, one who closes it or
 * a second consumer, and a poller who starts polling meanwhile and then pushes.
 *
 * Checked at every step: while it is polled, a queue that is not full, or closed, has a readable descriptor. And once nobody
 * else is at work, whoever looks at the full queue lowers it.
 *
 * Stands for
 *   src/queue/readiness.hpp      start, raise_if_polled, raise, lower
 *   src/queue/shared_queue.cpp   has_room, advance, lower_room, close, start_polling_room
 *
 * Mutants: -DMUTANT=1 to 4, see the places.
 */
#ifndef KILLS
#define KILLS 2
#endif
#ifndef CLOSER
#define CLOSER 1
#endif
#ifndef MUTANT
#define MUTANT 0
#endif
#define PROCESSES 4
#define ON_KILL(v)

#include "kills.pml"

#define LOWERED 0
#define RAISED 1
#define CHANGING 2
byte state;
bool polled;
bool readable; /* the eventfd */

byte pushed, popped;
byte popped_seen; /* tail_end */
bool closed;

#define FULL (pushed - popped >= 1)

inline raise() {
  if
  :: state != RAISED -> state = CHANGING; readable = true; state = RAISED
  :: else
  fi
}

inline raise_if_polled() {
  if
  :: polled -> raise()
  :: else
  fi
}

inline lower() {
#if MUTANT != 1
  /* Mutant 1: two states. */
  state = CHANGING;
#endif
  readable = false;
  state = LOWERED
}

inline lock_head() { lock(head); owner_died = false }
inline lock_tail() { lock(tail); owner_died = false }

/* Under the tail lock. */
inline lower_room() {
  if
  :: state != LOWERED ->
     try_lock(head);
     if
     :: got ->
        owner_died = false;
        if
#if MUTANT == 2
        /* The queue is not looked at again. */
        :: true -> lower()
#else
        :: FULL && !closed -> lower()
#endif
        :: else
        fi;
        unlock(head);
        got = false
     :: else
     fi
  :: else
  fi
}

inline push() {
  lock_tail();
  if
  :: closed
  :: else ->
     if
     :: pushed - popped_seen >= 1 -> popped_seen = popped
     :: else
     fi;
     if
     :: pushed - popped_seen >= 1 ->
        /* What room came while it tried for the head lock, it uses. */
        lower_room();
        popped_seen = popped
     :: else
     fi;
     if
     :: pushed - popped_seen >= 1
     :: else -> pushed++ /* COMMIT */
     fi
  fi;
  unlock(tail)
}

proctype producer(byte me) {
  bool owner_died, got;
  {
    push();
    push();
    ended[me] = true
  } unless { killed[me] }
}

proctype consumer(byte me) {
  bool owner_died;
  {
    lock_head();
    if
    :: pushed != popped ->
#if MUTANT == 3
       /* The descriptor is raised after the commit. */
       popped++;
       raise_if_polled()
#else
       raise_if_polled();
       popped++ /* COMMIT */
#endif
    :: else
    fi;
    unlock(head);
    ended[me] = true
  } unless { killed[me] }
}

proctype closer(byte me) {
  bool owner_died;
  {
#if MUTANT != 4
    /* Mutant 4: without the consumers' lock. */
    lock_head();
#endif
    lock_tail();
    raise_if_polled();
    closed = true; /* COMMIT */
    unlock(tail);
#if MUTANT != 4
    unlock(head);
#endif
    ended[me] = true
  } unless { killed[me] }
}

#define OTHERS_ENDED ((ended[0] || killed[0]) && (ended[1] || killed[1]) && (ended[2] || killed[2]))

/* Process 3: it asks for the descriptor, and goes on looking when nobody else is there any more. */
proctype poller(byte me) {
  bool owner_died, got;
  {
    lock_head();
    if
    :: !FULL || closed -> raise()
    :: else
    fi;
    polled = true; /* COMMIT */
    unlock(head);
    OTHERS_ENDED;
    if
    :: !closed && readable ->
       push();
       if
       :: readable -> push()
       :: else
       fi
    :: else
    fi;
    assert(closed || FULL && !readable);
    ended[me] = true
  } unless { killed[me] }
}

active proctype monitor() {
end:
  atomic { polled && (!FULL || closed) && !readable -> assert(false) }
}

init {
  atomic {
    run producer(0);
    run consumer(1);
#if CLOSER
    run closer(2);
#else
    run consumer(2);
#endif
    run poller(3)
  }
}
