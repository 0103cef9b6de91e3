/*
 * Linked to the tests of an object a second time: no sleeper rechecks by itself at the end of a
 * recheck interval. The wake-up that is meant for it has to come, or the test waits in vain. What
 * needs the backstop (a sleeper is stopped or killed, a flag is set) has it as its tag, and is left
 * out.
 */
#include "base/hooks.h"

#include <stdlib.h>

__attribute__((constructor)) static void switch_off(void)
{
    shki_test_disable = SHKI_REPAIR_BACKSTOP;
    setenv("CK_EXCLUDE_TAGS", "backstop", 1);
}
