#!/bin/sh
# The account once more, with a lock and events in place of a condition.
. "$(dirname "$0")/scene-account.sh"
