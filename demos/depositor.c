/* depositor ACCOUNT: pays in, as often as a drawer draws. */
#include "account.h"

int main(int argc, char **argv)
{
    static const struct side side = {
        .program = "depositor",
        .purpose = "Pay into an account, each time when what was paid in has been drawn.",
        .name = "存款者",
        .does = "存款",
        .sign = 1,
        .needs = 0,
        .ready = "drawn",
        .other = "paid-in",
    };

    return account_main(argc, argv, &side);
}
