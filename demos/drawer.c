/* drawer ACCOUNT: draws, as often as a depositor pays in. */
#include "account.h"

int main(int argc, char **argv)
{
    static const struct side side = {
        .program = "drawer",
        .purpose = "Draw from an account, each time when something has been paid in.",
        .name = "取钱者",
        .does = "取钱",
        .sign = -1,
        .needs = 1,
        .ready = "paid-in",
        .other = "drawn",
    };

    return account_main(argc, argv, &side);
}
