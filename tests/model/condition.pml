/*
 * Condition variables: up to three threads that wait, and one or two that notify; each can be killed at any step. (A
 * thread is a process here.)
 *
 * Checked: who is notified had come before the call began, is the first of those who wait (if the notifier has the
 * user's lock), and goes on; of those who had come before, one is notified, or all, unless none is left; a
 * notification of one who dies before it has the user's lock again is passed on, so that it is not lost as long as
 * somebody waits who had come before it; without a kill nobody needs the tick, and nobody is notified twice.
 *
 * Stands for
 *   src/sync/wait_line.cpp       all of it
 *   src/sync/thread_record.cpp   settle_in_record, bury, is_alive
 *
 * LOCKED=0: notifiers do not have the user's lock. LATE=1: thread 2 comes late and takes the record of a dead one.
 * ROUNDS: how often thread 0 waits. IMPATIENT=1: thread 0 has a deadline; SIGNAL=1: it may leave by an
 * exception. ALL=1: notify_all.
 *
 * Mutants: -DMUTANT=1 to 10, see the places.
 */
#ifndef KILLS
#define KILLS 1
#endif
#ifndef LOCKED
#define LOCKED 1
#endif
#ifndef WAITERS
#define WAITERS 3
#endif
#ifndef NOTIFIES
#define NOTIFIES 1
#endif
#ifndef LATE
#define LATE 0
#endif
#ifndef ROUNDS
#define ROUNDS 1
#endif
#ifndef IMPATIENT
#define IMPATIENT 0
#endif
#ifndef SIGNAL
#define SIGNAL 0
#endif
#ifndef ALL
#define ALL 0
#endif
#ifndef EARLY
#define EARLY 0
#endif
#ifndef MUTANT
#define MUTANT 0
#endif

#define PROCESSES 4
#if LATE || WAITERS <= 2
#define RECORDS 2
#else
#define RECORDS 3
#endif
#define NONE 7

/* The records: who lives there (its number + 1, 0: nobody), and a place in line. */
#define IDLE 0
#define WAITING 1
#define ASLEEP 2
#define NOTIFIED 3
#define KIND(state) ((state) & 3)
#define WITH(state, kind) (((state) & 252) | kind)
#define IS_WAITING(state) (KIND(state) == WAITING || KIND(state) == ASLEEP)
byte alive[RECORDS], state[RECORDS], ticket[RECORDS];
byte tickets, waiters;
byte record_of[PROCESSES] = NONE;

bool sleeps[PROCESSES], ticked[PROCESSES];
byte early;

/* For the checks only. Sets of threads: bit 0 is thread 0. */
byte registered;       /* wait, and were not notified */
byte before[2];        /* had come before that notifier began, and wait still */
byte eligible[2];      /* had come when that notifier took its limit, and wait still */
byte entitled;         /* had come before a notification that is complete, and wait still */
byte complete;         /* notifications that found somebody */
byte made_use_of;      /* notifications, by those who have the user's lock again */

#define BIT(v) (1 << (v))
#define NO_MORE(v)                              \
  registered = registered & (15 - BIT(v));      \
  before[0] = before[0] & (15 - BIT(v));        \
  before[1] = before[1] & (15 - BIT(v));        \
  eligible[0] = eligible[0] & (15 - BIT(v));    \
  eligible[1] = eligible[1] & (15 - BIT(v))
#define ON_KILL(v)                              \
  sleeps[v] = false; ticked[v] = false;         \
  NO_MORE(v);                                   \
  entitled = entitled & (15 - BIT(v));          \
  if                                            \
  :: record_of[v] != NONE -> alive[record_of[v]] = 0; record_of[v] = NONE \
  :: else                                       \
  fi

#include "kills.pml"

/* wait_line's notify_one: `first`, as it was seen in `first_seen`. */
inline notify_one(by) {
  do
  :: atomic {
       state[first] == first_seen && IS_WAITING(first_seen) ->
       if
       :: by != NONE && kills == 0 ->
          assert(eligible[by] & BIT(alive[first] - 1));
          assert(!LOCKED || ALL || !((IS_WAITING(state[0]) && ticket[0] < ticket[first]) ||
                              (IS_WAITING(state[1]) && ticket[1] < ticket[first]) ||
                              (IS_WAITING(state[RECORDS - 1]) && ticket[RECORDS - 1] < ticket[first])))
       :: else
       fi;
       if
       :: alive[first] != 0 -> NO_MORE(alive[first] - 1)
       :: else
       fi;
       state[first] = WITH(first_seen, NOTIFIED) /* COMMIT */
     };
     atomic {
       if
       :: KIND(first_seen) == ASLEEP && alive[first] != 0 -> sleeps[alive[first] - 1] = false
       :: else
       fi;
       given++
     };
     break
  :: atomic {
       state[first] != first_seen && IS_WAITING(state[first]) && WITH(state[first], 0) == WITH(first_seen, 0) ->
       first_seen = state[first]
     }
  :: else -> break
  od
}

/* The first in line of those who wait, live and have come before. `by`: the notifier, or NONE if it is passed on. */
inline notify_some(by, most) {
  atomic {
    end_of_line = tickets;
    if :: by != NONE -> eligible[by] = registered :: else fi
  };
#if MUTANT == 5
  /* Mutant 5: also who comes later. */
  end_of_line = 255;
#endif
  given = 0;
  do
  :: given < most ->
     first = NONE;
     first_ticket = end_of_line;
     j = 0;
     do
     :: j < RECORDS ->
        looked = state[j];
        if
        :: IS_WAITING(looked) ->
           atomic {
             if
             :: alive[j] != 0 && ticket[j] < first_ticket -> first = j; first_seen = looked; first_ticket = ticket[j]
             :: else
             fi;
             looked = 0;
             j++
           }
        :: else -> atomic { looked = 0; j++ }
        fi
     :: else -> break
     od;
     if
     :: first == NONE -> break
     :: else ->
        notify_one(by)
     fi
  :: else -> break
  od;
  atomic { first = 0; first_seen = 0; first_ticket = 0; end_of_line = 0; j = 0 }
}

/* Each who has come before, in one pass. */
inline notify_all(by) {
  atomic { end_of_line = tickets; eligible[by] = registered };
  given = 0;
  j = 0;
  do
  :: j < RECORDS ->
     looked = state[j];
     if
     :: KIND(looked) != IDLE ->
        if
        :: atomic { alive[j] != 0 && ticket[j] < end_of_line -> first = j; first_seen = looked }; notify_one(by)
        :: atomic { !(alive[j] != 0 && ticket[j] < end_of_line) }
        fi
     :: else
     fi;
     atomic { looked = 0; first = 0; first_seen = 0; j++ }
  :: else -> break
  od;
  atomic { end_of_line = 0; j = 0 }
}

/* The place of a dead one, in the state `dead`. */
inline clear(record) {
  sequence = WITH(dead, 0);
  do
  :: KIND(dead) == IDLE || WITH(dead, 0) != sequence -> break
  :: else ->
#if MUTANT == 2
     /* Mutant 2: cleared first. */
     if
     :: atomic { state[record] == dead -> state[record] = WITH(dead, IDLE) };
        if
        :: KIND(dead) == NOTIFIED -> notify_some(NONE, 1)
        :: else
        fi;
#else
     if
     :: KIND(dead) == NOTIFIED -> notify_some(NONE, 1)
     :: else
     fi;
     if
     :: atomic { state[record] == dead -> state[record] = WITH(dead, IDLE) };
#endif
        waiters--;
        break
     :: atomic { state[record] != dead -> dead = state[record] }
     fi
  od;
  atomic { sequence = 0; dead = 0; given = 0 }
}

inline clear_dead() {
  i = 0;
  do
  :: i < RECORDS ->
     dead = state[i];
     if
     :: KIND(dead) != IDLE && alive[i] == 0 -> clear(i)
     :: else
     fi;
     atomic { dead = 0; i++ }
  :: else -> i = 0; break
  od
}

/* One wait, from the user's lock to the user's lock. */
inline wait() {
  lock(head);
#if MUTANT != 10
  waiters++;
#endif
  ticket[mine] = tickets;
  atomic {
    tickets++;
#if MUTANT == 1
    state[mine] = WITH(state[mine], WAITING);
#else
    state[mine] = WITH(state[mine], WAITING) + 4; /* COMMIT */
#endif
    registered = registered | BIT(me)
  };
#if MUTANT == 10
  /* Mutant 10: counted once it is there. */
  waiters++;
#endif
  unlock(head);
  do
  :: KIND(state[mine]) == NOTIFIED -> told = true; break
  :: atomic { KIND(state[mine]) != NOTIFIED -> seen = state[mine] };
     if
#if MUTANT == 9
     /* Mutant 9: it does not say that it sleeps. */
     :: atomic { state[mine] == seen -> sleeps[me] = true; seen = 0 };
#else
     :: atomic { state[mine] == seen -> state[mine] = WITH(seen, ASLEEP); seen = WITH(seen, ASLEEP) };
        atomic { state[mine] == seen -> sleeps[me] = true } unless { state[mine] != seen };
        seen = 0;
#endif
end_asleep:
        if
        :: !sleeps[me]
        :: atomic { sleeps[me] && ticked[me] -> sleeps[me] = false; ticked[me] = false };
#if MUTANT != 8
           /* Mutant 8: who waits does not look for the dead. */
           clear_dead()
#endif
        :: atomic { sleeps[me] && early < EARLY -> early++; sleeps[me] = false }; clear_dead()
        /* The deadline. */
        :: atomic { sleeps[me] && is_impatient -> sleeps[me] = false };
#if MUTANT == 4
           /* Mutant 4: whether it was notified or not. */
           atomic { state[mine] = WITH(state[mine], IDLE); NO_MORE(me); entitled = entitled & (15 - BIT(me)) };
           break
#else
           if
           :: atomic {
                IS_WAITING(state[mine]) ->
                state[mine] = WITH(state[mine], IDLE);
                NO_MORE(me);
                entitled = entitled & (15 - BIT(me))
              }
           :: KIND(state[mine]) == NOTIFIED -> told = true
           fi;
           break
#endif
        /* An exception. */
        :: atomic { sleeps[me] && SIGNAL && me == 0 -> sleeps[me] = false }; break
        fi;
        atomic { ticked[me] = false }
     :: state[mine] != seen
     fi
  od;
  seen = 0;
#if MUTANT == 7
  /* Mutant 7: its place is given up before it has the lock. */
  atomic { state[mine] = WITH(state[mine], IDLE); NO_MORE(me) };
#endif
  lock(head);
#if MUTANT == 7
  if
  :: told -> made_use_of++
  :: else
  fi;
#else
  do
#if MUTANT != 3
  /* Mutant 3: a notification that is not made use of is not passed on. */
  :: KIND(state[mine]) == NOTIFIED && !told -> notify_some(NONE, 1); given = 0; told = true; was_passed_on = true
  :: atomic { KIND(state[mine]) != NOTIFIED || told ->
#else
  :: atomic { true ->
#endif
       if
       :: told && !was_passed_on -> made_use_of++
       :: else
       fi;
       state[mine] = WITH(state[mine], IDLE);
       NO_MORE(me);
       entitled = entitled & (15 - BIT(me))
     };
     break
  od;
#endif
  waiters--;
  atomic { told = false; was_passed_on = false };
  unlock(head)
}

#define LOCALS                                                                               \
  bool owner_died, told, was_passed_on;                                                      \
  byte mine, i, j, given, first, first_seen, first_ticket, end_of_line, looked, dead, sequence, seen

proctype waiter(byte me; byte rounds; bool is_impatient) {
  LOCALS;
  {
    mine = me;
    do
    :: rounds > 0 -> wait(); rounds--
    :: else -> break
    od;
    ended[me] = true
  } unless { killed[me] }
}

/* Comes when somebody has died, and takes the record that is left. */
proctype late(byte me) {
  LOCALS;
  bool is_impatient;
  {
    mine = 0;
end_waits:
    if
    :: atomic { alive[0] == 0 -> mine = 0; alive[0] = me + 1; record_of[me] = 0 }
    :: atomic { alive[1] == 0 -> mine = 1; alive[1] = me + 1; record_of[me] = 1 }
    fi;
#if MUTANT == 6
    /* Mutant 6: what the former thread was notified of is forgotten. */
    state[mine] = WITH(state[mine], IDLE);
#else
    dead = state[mine];
    clear(mine);
#endif
    wait();
    ended[me] = true
  } unless { killed[me] }
}

inline notify(by) {
  atomic { before[by] = registered; could = registered };
  if
  :: waiters == 0
  :: else ->
     clear_dead();
#if ALL
     notify_all(by)
#else
     notify_some(by, 1)
#endif
  fi;
  atomic {
    assert(before[by] == 0 || (!ALL && given == 1));
    if
    :: given > 0 && !ALL -> complete++; entitled = entitled | (could & registered)
    :: else
    fi;
    given = 0;
    could = 0;
    before[by] = 0;
    eligible[by] = 0
  }
}

proctype notifier(byte me; byte times) {
  LOCALS;
  byte could;
  {
    do
    :: times > 0 ->
#if LOCKED
       lock(head);
#endif
       notify(3 - me);
#if LOCKED
       unlock(head);
#endif
       times--
    :: else -> break
    od;
    ended[me] = true
  } unless { killed[me] }
}

#define OVER(v) (sleeps[v] && record_of[v] != NONE && KIND(state[record_of[v]]) == NOTIFIED)
#define STRANDED (OVER(0) || OVER(1) || OVER(2))
#define TICK(v) if :: sleeps[v] -> ticked[v] = true :: else fi

/* Each `timeout` is a moment at which nothing moves any more. */
active proctype monitor() {
  timeout -> assert(kills > 0 || !STRANDED);
  assert(kills > 0 || (entitled & registered) == 0 || made_use_of >= complete);
  atomic { TICK(0); TICK(1); TICK(2) };
  timeout -> assert(!STRANDED && ((entitled & registered) == 0 || made_use_of >= complete))
}

init {
  atomic {
    alive[0] = 1; record_of[0] = 0;
    run waiter(0, ROUNDS, IMPATIENT);
#if WAITERS >= 2
    alive[1] = 2; record_of[1] = 1;
    run waiter(1, 1, false);
#else
    ended[1] = true;
#endif
#if LATE
    run late(2);
#elif WAITERS == 3
    alive[2] = 3; record_of[2] = 2;
    run waiter(2, 1, false);
#elif LOCKED
    ended[2] = true;
#else
    run notifier(2, 1);
#endif
    run notifier(3, NOTIFIES)
  }
}
