/*
 * Leases: two or three processes that take, acknowledge and give back, of which some are killed, and one that is left over.
 *
 * Checked at every step: a record that was popped is out on lease, or waits to be taken again, or was acknowledged: exactly
 * one of these, and acknowledged once. Whenever the consumers' lock is free, the count of what waits is that of the ledger.
 * In the end whatever dead processes had has come back and was taken.
 *
 * Stands for
 *   src/queue/lease_ledger.cpp   find_free, write, oldest_returned, take_returned, put_back, has_dead_holders,
 *                                put_back_of_the_dead, recover
 *   src/queue/shared_queue.cpp   find_front, lease, acknowledge, give_back, abandon,
 *                                look_for_dead_holders, head_guard
 *   src/queue/holder.cpp         is_alive
 *
 * Mutants: -DMUTANT=1 to 5, see the places.
 */
#ifndef KILLS
#define KILLS 2
#endif
#ifndef MUTANT
#define MUTANT 0
#endif
#ifndef USERS
#define USERS 2
#endif
#define PROCESSES 4
#define ON_KILL(v)
#define RECORDS 2
#define CLOSES_FILES_LATER

#include "kills.pml"

#define FREE_LEASE 0
#define RETURNED 9
#define GIVEN_UP 8 /* abandoned_lease */
byte word[RECORDS]; /* the ledger: FREE_LEASE, RETURNED or the holder + 1 */
byte ticket[RECORDS];
byte popped;        /* of RECORDS that were pushed before */
byte returned;

byte acknowledged[RECORDS]; /* for the checks only */

#define IS_OUT(e) (word[e] != FREE_LEASE && word[e] != RETURNED)

#if MUTANT == 1
/* Leases that were not popped yet are not dropped. */
#define DROP(e)
#else
#define DROP(e)                                                                    \
  atomic {                                                                         \
    if                                                                             \
    :: IS_OUT(e) && ticket[e] >= popped -> word[e] = FREE_LEASE                    \
    :: else                                                                        \
    fi                                                                             \
  };
#endif

inline lock_head() {
  lock(head);
  if
  :: owner_died ->
     owner_died = false;
     DROP(0)
     DROP(1)
#if MUTANT != 2
     /* Mutant 2: what came back is not counted. */
     returned = (word[0] == RETURNED -> 1 : 0) + (word[1] == RETURNED -> 1 : 0)
#endif
  :: else
  fi
}

inline unlock_head() {
  atomic {
    assert(returned == (word[0] == RETURNED -> 1 : 0) + (word[1] == RETURNED -> 1 : 0));
    unlock(head)
  }
}

inline put_back(e) {
  word[e] = RETURNED; /* COMMIT */
  returned++
}

#define PUT_BACK_OF_THE_DEAD(e)                                                    \
  if                                                                               \
  :: atomic { IS_OUT(e) && (word[e] == GIVEN_UP || IS_DEAD((word[e] - 1) % 4)) -> word[e] = RETURNED }; returned++ \
  :: else                                                                          \
  fi;

#if MUTANT == 4
/* Whoever else has something on lease is taken for dead. */
#define IS_DEAD(v) (v != me)
#else
#define IS_DEAD(v) (closed_files[v])
#endif

/* Under the head lock. */
inline look_for_dead_holders() {
  PUT_BACK_OF_THE_DEAD(0)
  PUT_BACK_OF_THE_DEAD(1)
}

#define NONE 9

/* entry: what it takes, that has come back or that is new; NONE if there is nothing. */
inline find_front() {
  if
  :: returned == 0 && popped == RECORDS -> look_for_dead_holders()
  :: else
  fi;
  if
  :: atomic {
       returned != 0 ->
       /* The older one. */
       if
       :: word[0] == RETURNED && (word[1] != RETURNED || ticket[0] < ticket[1]) -> entry = 0
       :: else -> assert(word[1] == RETURNED); entry = 1
       fi;
       is_new = false
     }
  :: atomic {
       returned == 0 && popped < RECORDS ->
       if
       :: word[0] == FREE_LEASE -> entry = 0
       :: word[0] != FREE_LEASE -> assert(word[1] == FREE_LEASE); entry = 1
       fi;
       is_new = true
     }
  :: else -> entry = NONE
  fi
}

inline lease() {
  lock_head();
  find_front();
  if
  :: entry == NONE
  :: entry != NONE && is_new ->
#if MUTANT == 5
     /* Popped before it is written down. */
     popped++;
     ticket[entry] = popped - 1;
     word[entry] = me + 1
#else
     ticket[entry] = popped;
     word[entry] = me + 1;
     popped++ /* COMMIT */
#endif
  :: entry != NONE && !is_new -> word[entry] = me + 1; /* COMMIT */ returned--
  fi;
  unlock_head()
}

/* Without a lock. */
inline acknowledge() {
  atomic {
    assert(word[entry] == me + 1); /* nobody has taken it away */
    word[entry] = FREE_LEASE;      /* COMMIT */
    acknowledged[ticket[entry]]++
  }
}

proctype user(byte me) {
  bool owner_died, is_new;
  byte entry;
  {
    lease();
    if
    :: entry == NONE
    :: entry != NONE -> acknowledge()
    :: entry != NONE -> word[entry] = GIVEN_UP /* COMMIT, without a lock */
    :: entry != NONE ->
#if MUTANT == 3
       /* Without the lock. */
       put_back(entry)
#else
       lock_head();
       put_back(entry);
       unlock_head()
#endif
    fi;
    atomic { entry = 0; is_new = false; ended[me] = true }
  } unless { killed[me] }
}

#define OTHERS_ENDED                                                                                 \
  ((ended[0] || closed_files[0]) && (ended[1] || closed_files[1]) && (ended[2] || closed_files[2]))

/* Whoever is left takes everything. */
proctype survivor(byte me) {
  bool owner_died, is_new;
  byte entry;
  OTHERS_ENDED;
  do
  :: lease();
     if
     :: entry == NONE -> break
     :: else -> acknowledge()
     fi
  od;
  assert(acknowledged[0] == 1 && acknowledged[1] == 1 && returned == 0)
}

/* Where a popped record is. */
#define PLACES(t)                                                                                        \
  (acknowledged[t] + (word[0] != FREE_LEASE && ticket[0] == t -> 1 : 0) +                                 \
   (word[1] != FREE_LEASE && ticket[1] == t -> 1 : 0))

active proctype monitor() {
end:
  atomic { popped > 0 && PLACES(0) != 1 || popped > 1 && PLACES(1) != 1 -> assert(false) }
}

init {
  atomic {
    ended[3] = true; /* so that it is not killed */
    run user(0);
    run user(1);
    if :: USERS == 3 -> run user(2) :: else -> ended[2] = true fi;
    run survivor(3)
  }
}
