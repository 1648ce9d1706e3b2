/*
 * The descriptor that polls readable: a producer, a consumer, a poller who starts polling meanwhile, and as OTHER a process
 * whose lease comes back, one who closes the queue, or a second producer.
 *
 * Checked at every step: while it is polled, a queue that is not empty, or closed, has a readable descriptor. And once
 * nobody else is at work, whoever looks at the empty queue lowers it: no event loop spins.
 *
 * Stands for
 *   src/queue/readiness.hpp      start, raise_if_polled, raise, lower
 *   src/queue/shared_queue.cpp   push_many, find_front, advance, take_returned, lease, give_back, lower_readiness, close,
 *                                start_polling, head_guard
 *   src/queue/lease_ledger.cpp   put_back, take_returned, recover
 *
 * Mutants: -DMUTANT=1 to 6, see the places.
 */
#ifndef KILLS
#define KILLS 2
#endif
#define HOLDER 0
#define CLOSER 1
#define PRODUCER 2
#ifndef OTHER
#define OTHER HOLDER
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

byte pushed, popped, returned;
bool closed;

#define FREE_LEASE 0
#define RETURNED 99
byte entry; /* the ledger has one: FREE_LEASE, RETURNED or its holder + 1 */

inline raise() {
  if
#if MUTANT == 1
  /* Two states: one who is killed between descriptor and word leaves a word that is wrong. */
  :: state != RAISED -> readable = true; state = RAISED
#else
  :: state != RAISED -> state = CHANGING; readable = true; state = RAISED
#endif
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
#if MUTANT == 2
  /* As above. */
  readable = false;
#else
  state = CHANGING;
  readable = false;
#endif
  state = LOWERED
}

/* Under the lock of one who was killed: head_guard. */
inline recover_head() {
  if
  :: owner_died ->
     owner_died = false;
     returned = (entry == RETURNED -> 1 : 0)
  :: else
  fi
}

inline lock_head() { lock(head); recover_head() }

/* What was committed by one who was killed needs no recovery: tail_guard. */
inline lock_tail() { lock(tail); owner_died = false }

/* size() and the rest are exact under both locks. */
inline lower_readiness() {
  if
  :: state != LOWERED ->
     try_lock(tail);
     if
     :: got ->
        owner_died = false;
#if MUTANT == 3
        /* The queue is not looked at again. */
        lower();
#else
        if
        :: pushed != popped || returned != 0 || closed
        :: else -> lower()
        fi;
#endif
        unlock(tail);
        got = false
     :: else
     fi
  :: else
  fi
}

proctype producer(byte me) {
  bool owner_died, got;
  {
    lock_tail();
    if
    :: !closed ->
#if MUTANT == 4
       /* The descriptor is raised after the commit. */
       pushed++;
       raise_if_polled();
#else
       raise_if_polled();
       pushed++; /* COMMIT */
#endif
    :: else
    fi;
    unlock(tail);
    ended[me] = true
  } unless { killed[me] }
}

proctype closer(byte me) {
  bool owner_died;
  {
    lock_tail();
    raise_if_polled();
    closed = true; /* COMMIT */
    unlock(tail);
    ended[me] = true
  } unless { killed[me] }
}

/* Takes the record in front, which may be one that came back. */
inline pop() {
  lock_head();
  do
  :: returned != 0 ->
     assert(entry == RETURNED);
     entry = FREE_LEASE; /* COMMIT */
     returned--;
     if
     :: state != LOWERED && pushed == popped && returned == 0 -> lower_readiness()
     :: else
     fi;
     break
  :: else ->
     if
     :: pushed != popped ->
        popped++; /* COMMIT */
        if
        :: state != LOWERED && pushed == popped -> lower_readiness()
        :: else
        fi;
        break
     :: else ->
        /* What came while it tried for the tail lock, it takes. */
        lower_readiness();
        if
        :: pushed == popped && returned == 0 -> break
        :: else
        fi
     fi
  od;
  unlock(head)
}

proctype consumer(byte me) {
  bool owner_died, got;
  {
    pop();
    ended[me] = true
  } unless { killed[me] }
}

/* Takes a record on lease and gives it back. */
proctype holder(byte me) {
  bool owner_died, got;
  {
    lock_head();
    if
    :: returned == 0 && pushed != popped ->
       popped++; /* with the entry written before: leases.pml */
       entry = me + 1;
       if
       :: state != LOWERED && pushed == popped -> lower_readiness()
       :: else
       fi
    :: else
    fi;
    unlock(head);
    if
    :: entry == me + 1 ->
       lock_head();
       lock_tail();
#if MUTANT != 5
       /* Mutant 5: it comes back to a queue that is not readable. */
       raise_if_polled();
#endif
       entry = RETURNED; /* COMMIT */
       returned++;
       unlock(tail);
       unlock(head)
    :: else
    fi;
    ended[me] = true
  } unless { killed[me] }
}

#define OTHERS_ENDED                                                                            \
  ((ended[0] || killed[0]) && (ended[1] || killed[1]) && (ended[2] || killed[2]))

/* Process 3: it asks for the descriptor, and goes on looking when nobody else is there any more. */
proctype poller(byte me) {
  bool owner_died, got;
  {
#if MUTANT == 6
    /* Mutant 6: without the head lock, what a killed process put back is not counted. */
    lock_tail();
#else
    lock_head();
    lock_tail();
#endif
    if
    :: pushed != popped || returned != 0 || closed -> raise()
    :: else
    fi;
    polled = true; /* COMMIT */
    unlock(tail);
#if MUTANT != 6
    unlock(head);
#endif
    OTHERS_ENDED;
    /* What came back is there for those who poll, counted or not. */
    assert(readable || entry != RETURNED);
    do
    :: readable && (pushed != popped || entry == RETURNED || returned != 0) -> pop()
    :: else -> break
    od;
    if
    :: readable -> pop()
    :: else
    fi;
    assert(pushed == popped && entry != RETURNED && readable == closed);
    ended[me] = true
  } unless { killed[me] }
}

active proctype monitor() {
end:
  atomic { polled && (pushed != popped || returned != 0 || closed) && !readable -> assert(false) }
}

init {
  atomic {
    run producer(0);
#if OTHER == HOLDER
    run holder(1);
#elif OTHER == CLOSER
    run closer(1);
#else
    run producer(1);
#endif
    run consumer(2);
    run poller(3)
  }
}
