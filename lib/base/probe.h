/*
 * Static probes (USDT) on the slow paths, for bpftrace, SystemTap, perf and gdb: a nop in the code
 * and a note in the file, until a tracer is attached. shmkit(7) lists them. Without <sys/sdt.h>
 * they are nothing.
 *
 * Arguments are what is at hand: a probe that is not used computes nothing.
 */
#ifndef SHKI_PROBE_H
#define SHKI_PROBE_H

#ifdef HAVE_SYS_SDT_H
#include <sys/sdt.h>
#define SHKI_PROBE1(name, a)          DTRACE_PROBE1(shmkit, name, a)
#define SHKI_PROBE2(name, a, b)       DTRACE_PROBE2(shmkit, name, a, b)
#define SHKI_PROBE4(name, a, b, c, d) DTRACE_PROBE4(shmkit, name, a, b, c, d)
#else
#define SHKI_PROBE1(name, a)          ((void)(a))
#define SHKI_PROBE2(name, a, b)       ((void)(a), (void)(b))
#define SHKI_PROBE4(name, a, b, c, d) ((void)(a), (void)(b), (void)(c), (void)(d))
#endif

#endif
