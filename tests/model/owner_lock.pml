/*
 * Locks that know their owner: two or three threads with a record each, and one that comes late and takes the record
 * of one that has ended or died. (A thread is a process here; each can be killed at any step.)
 *
 * Checked: of the living, one has a lock at a time; it is taken from a dead owner, never from a living one, and
 * whoever takes it is told; nobody sleeps for ever over a lock that is free, dead or of no use any more: not at all
 * without a kill, not past the next tick with kills, and not even so long if whoever was killed held locks in peace
 * and the sleeper fell asleep since.
 *
 * Stands for
 *   src/sync/owner_lock.cpp      take, lock_contended, pass_on_wake, sleep_on, put, release, consistent
 *   src/sync/thread_record.cpp   settle, settle_in_record, is_referred_to, leave, is_alive, sleep_while_alive
 *   src/os/futex.cpp             futex_wait_either
 * and the kernel, which clears a dead thread's id and then wakes one who sleeps on it.
 *
 * LOCKS=2: thread 0 takes both, one inside the other; 1 wants the first and 2 the second. TWICE=1: thread 0 comes
 * twice. RELEASE=1: thread 0 locks, and thread 1 unlocks. TORN=1: the lock was given back as a dead owner left it.
 * IMPATIENT=1: thread 1 has a deadline. EARLY: so many ticks, or signals, come at any moment.
 *
 * Mutants: -DMUTANT=1 to 9, see the places.
 */
#ifndef KILLS
#define KILLS 1
#endif
#ifndef LOCKS
#define LOCKS 1
#endif
#ifndef RELEASE
#define RELEASE 0
#endif
#ifndef OTHERS
#define OTHERS 2
#endif
#ifndef LATE
#define LATE 1
#endif
#ifndef IMPATIENT
#define IMPATIENT 0
#endif
#ifndef TORN
#define TORN 0
#endif
#ifndef TWICE
#define TWICE 0
#endif
#ifndef EARLY
#define EARLY 0
#endif
#ifndef MUTANT
#define MUTANT 0
#endif

#define PROCESSES 4
#define RECORDS 4
#define NONE 7

/* The word of a lock: generation (2 bits), record + 1 (3 bits), flags (3 bits). */
#define CONTENDED 1
#define INCONSISTENT 2
#define UNRECOVERABLE 4
#define OWNER(word) ((word) & 248)
#define RECORD(word) ((((word) >> 3) & 7) - 1)
#define GENERATION(word) ((word) >> 6)
#define LOW_HALF(word) ((word) & 63) /* a futex has no room for the generation */
#define ID(record, generation) (((generation) << 6) | (((record) + 1) << 3))
byte word[2];

/* A thread's life: its number + 1, and whether somebody has to be woken when it ends. */
#define WAITERS 8
#define TID(life) ((life) & 7)
byte life[RECORDS];
byte generation[RECORDS];
byte record_of[PROCESSES] = NONE;
bool owes_wake[RECORDS]; /* the kernel: the id is cleared already */

/* Who sleeps on what: 0, or lock + 1, record + 1. What is woken is cleared; the sleeper goes on once either is. */
byte on_word[PROCESSES], on_life[PROCESSES];
bool ticked[PROCESSES];
byte early;
#define IS_ASLEEP(v) (on_word[v] != 0 && on_life[v] != 0)

/* For the checks only. */
byte inside[2];        /* 0, or who has the lock + 1 */
bool left_by_death[2]; /* its owner was killed, and nobody has been told yet */
bool is_busy[PROCESSES] = true;
bool killed_busy;

#define DROP(v, which) \
  if :: inside[which] == v + 1 -> inside[which] = 0; left_by_death[which] = true :: else fi
#define ON_KILL(v)                                             \
  on_word[v] = 0; on_life[v] = 0; ticked[v] = false;           \
  killed_busy = killed_busy || is_busy[v];                     \
  DROP(v, 0); DROP(v, 1);                                      \
  if                                                           \
  :: record_of[v] != NONE ->                                   \
     owes_wake[record_of[v]] = (life[record_of[v]] >= WAITERS); \
     life[record_of[v]] = life[record_of[v]] & WAITERS;        \
     record_of[v] = NONE                                       \
  :: else                                                      \
  fi

#include "kills.pml"

/* All, or one, whichever. */
#define WAKE(on, what, all)                                       \
  do                                                              \
  :: on[0] == what -> on[0] = 0; if :: !(all) -> break :: else fi \
  :: on[1] == what -> on[1] = 0; if :: !(all) -> break :: else fi \
  :: on[2] == what -> on[2] = 0; if :: !(all) -> break :: else fi \
  :: on[3] == what -> on[3] = 0; if :: !(all) -> break :: else fi \
  :: else -> break                                                \
  od
inline wake_word(which, all) { WAKE(on_word, which + 1, all) }
inline wake_life(record, all) { WAKE(on_life, record + 1, all) }

active proctype robust_list() {
end:
  do
  :: atomic { owes_wake[0] -> owes_wake[0] = false; wake_life(0, false) }
  :: atomic { owes_wake[1] -> owes_wake[1] = false; wake_life(1, false) }
  :: atomic { owes_wake[2] -> owes_wake[2] = false; wake_life(2, false) }
  :: atomic { owes_wake[3] -> owes_wake[3] = false; wake_life(3, false) }
  od
}

/* thread_table::is_alive of the owner in `seen`: alive first, and then the generation. */
inline look_at_owner() {
#if LATE
  lives = (TID(life[RECORD(seen)]) != 0);
#else
  atomic { lives = (TID(life[RECORD(seen)]) != 0) }; /* no record is used again */
#endif
#if LATE && MUTANT != 1
  /* Mutant 1: no generation. */
  if
  :: lives -> lives = (generation[RECORD(seen)] == GENERATION(seen))
  :: else
  fi
#endif
}

inline got_it(which) {
  assert(inside[which] == 0 && left_by_death[which] == told);
  inside[which] = me + 1;
  left_by_death[which] = false
}

inline take(which) {
  taken = false;
  seen = word[which];
  do
  :: seen & UNRECOVERABLE -> useless = true; break
  :: !(seen & UNRECOVERABLE) && OWNER(seen) == 0 ->
     if
     :: atomic {
          word[which] == seen ->
#if MUTANT == 2
          /* Mutant 2: what was given back as a dead owner left it is taken as if it was whole. */
          told = false;
          word[which] = my_id | flags;
#else
          told = (seen & INCONSISTENT) != 0;
          word[which] = my_id | flags | (seen & INCONSISTENT); /* COMMIT */
#endif
          got_it(which);
          taken = true
        };
        break
     :: atomic { word[which] != seen -> seen = word[which] }
     fi
  :: !(seen & UNRECOVERABLE) && OWNER(seen) != 0 ->
     look_at_owner();
     if
     :: lives -> break
     :: else ->
        if
        :: atomic {
#if MUTANT == 1
             (word[which] & 63) == (seen & 63) ->
#else
             word[which] == seen ->
#endif
             told = true;
             word[which] = my_id | INCONSISTENT | CONTENDED; /* COMMIT */
             got_it(which);
             taken = true
           };
           break
        :: atomic { word[which] != seen -> seen = word[which] }
        fi
     fi
  od
}

/* futex_wait_either: first on the word, then on the life. */
inline sleep(which) {
  if
  :: atomic { LOW_HALF(word[which]) == LOW_HALF(seen) -> on_word[me] = which + 1 };
     if
     :: atomic { life[RECORD(seen)] == expected -> on_life[me] = RECORD(seen) + 1 };
end_asleep:
        if
        :: atomic { on_life[me] == 0 -> on_word[me] = 0; is_late = is_impatient };
#if MUTANT != 3
           /* Mutant 3: the others who sleep on that life are not woken. */
           atomic { wake_life(RECORD(seen), true) }
#endif
        :: atomic { on_life[me] != 0 && on_word[me] == 0 -> on_life[me] = 0 }
        :: atomic { is_impatient && on_life[me] != 0 && on_word[me] == 0 -> on_life[me] = 0; is_late = true }
        :: atomic {
             ticked[me] && IS_ASLEEP(me) -> ticked[me] = false; on_word[me] = 0; on_life[me] = 0; disturbed = true
           }
        :: atomic { early < EARLY && IS_ASLEEP(me) -> early++; on_word[me] = 0; on_life[me] = 0; disturbed = true }
        /* The deadline. */
        :: atomic { is_impatient && IS_ASLEEP(me) -> on_word[me] = 0; on_life[me] = 0; is_late = true }
        fi;
        atomic { ticked[me] = false }
     :: atomic { life[RECORD(seen)] != expected -> on_word[me] = 0 }
     fi
  :: LOW_HALF(word[which]) != LOW_HALF(seen)
  fi
}

inline sleep_while_alive(which) {
#if MUTANT == 4
  /* Mutant 4: the bit in the owner's life is not set. */
  atomic { expected = life[RECORD(seen)] };
#else
  do
  :: atomic { TID(life[RECORD(seen)]) != 0 && life[RECORD(seen)] < WAITERS -> expected = life[RECORD(seen)] };
     if
     :: atomic { life[RECORD(seen)] == expected -> expected = expected | WAITERS; life[RECORD(seen)] = expected };
        break
     :: life[RECORD(seen)] != expected
     fi
  :: atomic {
       TID(life[RECORD(seen)]) == 0 || life[RECORD(seen)] >= WAITERS -> expected = life[RECORD(seen)] | WAITERS
     };
     break
  od;
#endif
#if MUTANT != 5
  /* Mutant 5: not looked at again once the bit is set. */
  look_at_owner();
#endif
  if
  :: lives -> sleep(which)
  :: else
  fi
}

/* Whoever was woken and gives up. */
inline pass_on_wake(which) {
#if MUTANT != 6
  /* Mutant 6: it just goes. */
  do
  :: atomic { OWNER(word[which]) == 0 -> wake_word(which, false) }; break
  :: word[which] & CONTENDED && OWNER(word[which]) != 0 -> break
  :: atomic { OWNER(word[which]) != 0 && !(word[which] & CONTENDED) -> seen = word[which] };
     if
     :: atomic { word[which] == seen -> word[which] = seen | CONTENDED }; break
     :: word[which] != seen
     fi
  od;
#endif
  skip
}

inline lock_it(which) {
  flags = 0;
  do
  :: take(which);
     if
     :: taken || useless -> break
     :: else
     fi;
     if
     :: is_late || disturbed ->
        if
        :: flags != 0 -> pass_on_wake(which)
        :: else
        fi;
        flags = 0;
        if
        :: is_late -> break
        :: else -> disturbed = false
        fi
     :: else ->
#if MUTANT == 7
        /* Mutant 7: nobody is told that somebody sleeps. */
        flags = CONTENDED;
        sleep_while_alive(which)
#else
        if
        :: atomic { word[which] == seen -> word[which] = seen | CONTENDED; seen = seen | CONTENDED };
#if MUTANT != 8
           /* Mutant 8: who has slept takes it as if nobody else did. */
           flags = CONTENDED;
#endif
           sleep_while_alive(which)
        :: word[which] != seen
        fi
#endif
     fi
  od;
  atomic { flags = 0; lives = false; expected = 0; disturbed = false; is_late = false; seen = 0; told = told && taken }
}

/* For the owner in `seen`. */
inline put(which, next, owner) {
  atomic {
    assert(inside[which] == owner);
    inside[which] = 0;
    seen = word[which];
    word[which] = next /* COMMIT */
  };
  if
  :: seen & CONTENDED ->
#if MUTANT == 9
     /* Mutant 9: one is woken, who can do nothing with the lock and does not wake the next. */
     atomic { wake_word(which, false) }
#else
     atomic { wake_word(which, next == UNRECOVERABLE) }
#endif
  :: else
  fi;
  seen = 0
}

inline unlock_it(which) {
  /* Between two operations. */
  is_busy[me] = false;
  is_busy[me] = true;
  if
  :: told ->
     if
     :: atomic { word[which] = word[which] & (255 - INCONSISTENT); told = false } /* consistent() */
     :: true
     fi
  :: else
  fi;
  put(which, (told -> UNRECOVERABLE : 0), me + 1);
  told = false
}

inline use(which) {
  lock_it(which);
  if
  :: taken -> unlock_it(which)
  :: else
  fi
}

/* The thread ends: pthread_mutex_unlock. */
inline leave() {
  atomic { expected = life[record_of[me]]; life[record_of[me]] = 0; at = record_of[me]; record_of[me] = NONE };
  if
  :: expected >= WAITERS -> atomic { wake_life(at, false) }
  :: else
  fi
}

#define LOCALS                                                                   \
  bool lives, taken, told, useless, disturbed, is_late;                          \
  byte seen, expected, flags, my_id, at

bool handed_over;

/* Takes one lock inside the other. */
proctype holder(byte me; bool is_impatient) {
  LOCALS;
  bool told_outer;
  {
    my_id = ID(me, generation[me]);
#if TWICE
    use(0);
#endif
    lock_it(0);
    if
    :: taken ->
       told_outer = told;
#if RELEASE
       told = false;
       handed_over = true
#else
#if LOCKS == 2
       use(1);
#endif
       told = told_outer;
       unlock_it(0)
#endif
    :: else
    fi;
#if LATE
    leave();
#endif
    ended[me] = true
  } unless { killed[me] }
}

proctype locker(byte me; byte which; bool is_impatient) {
  LOCALS;
  {
    my_id = ID(me, generation[me]);
    use(which);
    /* The thread lives on: its end would wake others. */
    ended[me] = true
  } unless { killed[me] }
}

proctype releaser(byte me) {
  byte seen;
  {
    handed_over;
    put(0, 0, 1);
    ended[me] = true
  } unless { killed[me] }
}

/* Comes when somebody has ended, and takes the record that is left. */
proctype late(byte me; bool is_impatient) {
  LOCALS;
  {
    at = 0;
end_waits:
    if
    :: atomic { TID(life[0]) == 0 -> at = 0; life[0] = life[0] | (me + 1); record_of[me] = 0 }
    :: atomic { TID(life[1]) == 0 -> at = 1; life[1] = life[1] | (me + 1); record_of[me] = 1 }
    :: atomic { TID(life[2]) == 0 -> at = 2; life[2] = life[2] | (me + 1); record_of[me] = 2 }
    fi;
    lives = (OWNER(word[0]) == ID(at, generation[at]));
#if LOCKS == 2
    lives = lives || (OWNER(word[1]) == ID(at, generation[at]));
#endif
    if
    /* The dead one must stay known until somebody has taken the lock. */
    :: lives -> leave()
    :: else ->
#if MUTANT != 1
       generation[at] = generation[at] + 1;
#endif
       my_id = ID(at, generation[at]);
       atomic { wake_life(at, true) };
       use(0)
    fi;
    ended[me] = true
  } unless { killed[me] }
}

#define IS_OPEN(which) (OWNER(word[which]) == 0 || TID(life[RECORD(word[which])]) == 0 || \
                        generation[RECORD(word[which])] != GENERATION(word[which]))
#define OVER(v) (on_word[v] != 0 && on_life[v] != 0 && IS_OPEN(on_word[v] - 1))
#define STRANDED(v) (OVER(v) && (OWNER(word[on_word[v] - 1]) == 0 || RECORD(word[on_word[v] - 1]) == on_life[v] - 1))
#define TICK(v) if :: IS_ASLEEP(v) -> ticked[v] = true :: else fi

/* Each `timeout` is a moment at which nothing moves any more. */
active proctype monitor() {
  /* Who fell asleep under an earlier owner sleeps on the life of that one. */
  timeout -> assert(killed_busy || !(STRANDED(0) || STRANDED(1) || STRANDED(2) || STRANDED(3)));
  assert(kills > 0 || RELEASE || !(IS_ASLEEP(0) || IS_ASLEEP(1) || IS_ASLEEP(2) || IS_ASLEEP(3)));
  atomic { TICK(0); TICK(1); TICK(2); TICK(3) };
  timeout -> assert(!(IS_ASLEEP(0) || IS_ASLEEP(1) || IS_ASLEEP(2) || IS_ASLEEP(3)))
}

init {
  atomic {
    if :: TORN -> word[0] = INCONSISTENT; left_by_death[0] = true :: else fi;
    life[0] = 1; life[1] = 2; life[2] = 3; life[3] = 4;
    record_of[0] = 0; record_of[1] = 1; record_of[2] = 2; record_of[3] = (LATE -> NONE : 3);
    run holder(0, false);
#if RELEASE
    run releaser(1);
#else
    run locker(1, 0, IMPATIENT);
#endif
    if :: OTHERS >= 2 -> run locker(2, LOCKS - 1, false) :: else -> ended[2] = true fi;
    if
    :: LATE -> run late(3, false)
    :: !LATE && OTHERS == 3 -> run locker(3, 0, false)
    :: else -> ended[3] = true
    fi
  }
}
